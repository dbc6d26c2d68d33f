"""The next step of a rotation, each rule alone; the Lease's compare-and-set; and what a member shows of its leaf."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.contracts.identity import Member
from agents.contracts.siblings import FormationStatus, Stage
from agents.core.ports import ApiProblem
from agents.io.kube_errors import KubeRejected
from edge_commander.distribution.port import ClusterMember
from edge_commander.formation import plan as forming
from edge_commander.formation.record import Part, Record
from edge_commander.reasons import Reason, Why
from edge_commander.rotation.lease import RotationLease
from edge_commander.rotation.plan import Facts, Fetch, Life, Make, Renew, Rest, Step, Turn, next_step
from edge_commander.rotation.store import NAME, Progress, ProgressFile

A, B, C = "na", "nb", "nc"
ROSTER = [Member(node=node, name=f"nuc-{node[1]}", address="10.0.0.1", signing={"k": "v"}) for node in (A, B, C)]


def said(node: str, holds: int = 1, runs: int = 1, **more: Any) -> FormationStatus:
    fields = {"epoch": 1, "stage": Stage.MEMBER, **more}
    return FormationStatus(node=node, holds=holds, runs=runs, **fields)


def ready(*names: str) -> list[ClusterMember]:
    return [ClusterMember(name=f"nuc-{one}", ready=one in names, server=True) for one in "abc"]


def facts(me: str = A, b: FormationStatus | None = said(B), c: FormationStatus | None = said(C), **more: Any) -> Facts:  # noqa: B008 - frozen values
    answers = {one.node: one for one in (b, c) if one is not None}
    fields: dict[str, Any] = {
        "epoch": 1, "roster": ROSTER, "turn": Turn(), "answers": answers, "members": ready("a", "b", "c"),
        "holds": 1, "runs": 1, "renewing": False, "due": False, "active": True, "now_ms": 1000,
    }  # fmt: skip
    return Facts(me=me, **{**fields, **more})


def turn(text: str) -> Rest:
    return Rest(Reason(Why.TURN, f"rotation: {text}"))


GONE = Reason(Why.CLOCK)
DUE = Life(0, 1400)
URGENT = Life(0, 1100)


@pytest.mark.parametrize(
    ("known", "step"),
    [
        (facts(active=False), Rest()),
        (facts(), Rest()),
        (facts(due=True), Make(2)),
        (facts(due=True, turn=Turn("", 1, 2, "d")), Make(3)),
        (facts(due=True, turn=Turn("", 0, 9, "d")), Make(2)),
        (facts(due=True, clock=GONE), Rest(GONE)),
        (facts(due=True, b=None), turn("nuc-b does not answer")),
        (facts(due=True, c=said(C, stage=Stage.STARTED)), turn("nuc-c is not a member yet")),
        (facts(due=True, c=said(C, epoch=2)), turn("nuc-c is not a member yet")),
        (facts(due=True, members=ready("a", "c")), turn("nuc-b is not Ready")),
        (facts(due=True, upgrading="nuc-c"), turn("nuc-c is upgraded")),
        (facts(active=False, life=URGENT, upgrading="nuc-c"), turn("nuc-c is upgraded")),
        (facts(due=True, wiping="nuc-c"), turn("nuc-c is being wiped")),
        (facts(due=True, b=said(B, 2, 1), c=said(C, 2, 2)), Fetch((B, C))),
        (facts(b=said(B, 2, 1), clock=GONE), Fetch((B,))),
        (facts(holds=2), turn("nuc-b has not got generation 2 yet")),
        (facts(holds=2, b=said(B, 2), c=said(C, 2)), Renew()),
        (facts(holds=2, runs=2, b=said(B, 2), c=said(C, 2)), Rest()),
        (facts(holds=2, b=said(B, 2, renewing=True), c=said(C, 2), turn=Turn("nuc-b")), turn("nuc-b renews")),
        (facts(holds=2, b=said(B, 2, 2), c=said(C, 2), turn=Turn("nuc-b")), Renew()),
        (facts(holds=2, b=said(B, 2), c=said(C, 2), turn=Turn("nuc-x")), Renew()),
        (facts(holds=2, b=said(B, 2), c=said(C, 2), turn=Turn("nuc-a")), Renew()),
        (facts(holds=2, b=said(B, 2), c=said(C, 2), members=ready("b", "c")), turn("nuc-a is not Ready")),
        (facts(renewing=True, active=False), Renew()),
        (facts(active=False, life=DUE), Renew()),
        (facts(active=False, life=DUE, clock=GONE), Rest()),
        (facts(active=False, life=Life(0, 1600)), Rest()),
        (facts(active=False, life=DUE, b=None), turn("nuc-b does not answer")),
        (facts(active=False, life=URGENT, b=None), Renew()),
        (facts(active=False, life=URGENT, members=ready("a"), b=None, c=None), turn("nuc-b does not answer")),
    ],
)
def test_the_first_rule_that_fits_says_what_is_next(known: Facts, step: Step) -> None:
    assert next_step(known) == step


def test_only_the_first_by_name_makes_and_the_next_waits_for_it_to_renew() -> None:
    others = {A: said(A), C: said(C)}
    assert next_step(facts(B, due=True, answers=others)) == Rest()
    behind = {A: said(A, 2), C: said(C, 2)}
    assert next_step(facts(B, holds=2, answers=behind)) == turn("nuc-a is before this node")


def test_what_a_server_runs_by_is_known_after_a_restart(tmp_path: Path) -> None:
    file = ProgressFile(tmp_path)
    assert file.progress == Progress()
    file.save(Progress(epoch=1, runs=3, renewing=True))
    assert ProgressFile(tmp_path).progress == Progress(epoch=1, runs=3, renewing=True)
    (tmp_path / NAME).write_bytes(b"torn")
    assert ProgressFile(tmp_path).progress == Progress(), "at worst a renewal is done again"


class Api:
    """One object with a resourceVersion."""

    def __init__(self) -> None:
        self.object: dict[str, Any] | None = None
        self.version = 0

    async def connect(self) -> Api:
        return self

    async def request(self, method: str, path: str, *, body: Any = None, timeout: float = 10.0) -> dict[str, Any]:
        if method == "GET":
            if self.object is None:
                raise KubeRejected(ApiProblem(status=404, reason="NotFound", message="no"))
            return self.object
        before = body["metadata"].get("resourceVersion")
        if (self.object is None) != (method == "POST") or (method == "PUT" and before != str(self.version)):
            raise KubeRejected(ApiProblem(status=409, reason="Conflict", message="changed"))
        self.version += 1
        self.object = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return self.object


async def test_of_two_that_read_the_same_lease_one_writes() -> None:
    api = Api()
    one, other = RotationLease(api.connect), RotationLease(api.connect)
    assert await one.read() == await other.read() == Turn()
    assert await one.announce(1, 2, "d") and not await other.announce(1, 2, "e")
    assert await other.read() == Turn("", 1, 2, "d")
    assert await one.take("nuc-1") and not await other.take("nuc-2")
    assert await other.holder() == "nuc-1"
    assert not await other.take("nuc-2"), "a look of another's changes nothing"
    assert await other.read() == Turn("nuc-1", 1, 2, "d")
    assert await one.take("") and await other.holder() == ""


async def test_nonsense_in_the_lease_counts_as_nothing() -> None:
    api = Api()
    api.object = {"metadata": {"annotations": {"galley/epoch": "1", "galley/generation": "-4x"}}, "spec": None}
    assert await RotationLease(api.connect).read() == Turn("", 1, 0, "")


def test_a_box_that_is_to_join_takes_a_newer_generation_first() -> None:
    """It was given an older one, and stopped half way."""
    record = Record(epoch=1, stage=Stage.STARTED, part=Part.JOIN, initialiser=B)
    answers = {B: said(B, 3, 2, secrets=True), C: said(C, 2, 2, secrets=True)}
    known = forming.Facts(
        me=A, epoch=1, roster=tuple(ROSTER), record=record, answers=answers, secrets=True, generation=2,
        slot=("10.0.0.2",), kept=True,
    )  # fmt: skip
    assert forming.next_step(known) == forming.FetchSecrets((B,))
    assert forming.next_step(replace(known, generation=3)) == forming.Join(("10.0.0.2",))
