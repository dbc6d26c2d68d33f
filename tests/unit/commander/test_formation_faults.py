"""What formation keeps and touches, under faults: damaged, foreign and newer files, a full disk, a Lease that moves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from agents.contracts.identity import Election, Member
from agents.contracts.ids import node_id
from agents.contracts.siblings import SlotRequest, Stage
from agents.core.errors import Retryable
from agents.core.jose import SoftwareKey
from agents.core.ports import ApiProblem, Object
from agents.core.settings import Listener
from agents.io import state as state_module
from agents.io.kube_errors import KubeRejected
from agents.io.state import StateFile
from edge_commander.distribution import grants
from edge_commander.distribution.port import ClusterPlan
from edge_commander.election.box import BallotBox
from edge_commander.epoch import FileEpochFloor
from edge_commander.formation.assemble import Formation, Means
from edge_commander.formation.lease import JoinLease
from edge_commander.formation.record import Part, Record
from edge_commander.formation.site import Site
from edge_commander.formation.slot import Held
from edge_commander.formation.store import NAME, RecordFile
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.secrets.authority import make_secrets
from edge_commander.secrets.store import SecretsStore
from edge_commander.settings import DistributionSettings
from tests.fakes.clock import VirtualClock
from tests.fakes.formation_world import World, secrets_of
from tests.fakes.siblings import TurnedTime

MEMBER = Record(epoch=1, stage=Stage.MEMBER, part=Part.JOIN, initialiser="n-other")


@dataclass
class Box:
    """One node's disks, and its formation as a start of the daemon makes it."""

    folder: Path

    def __post_init__(self) -> None:
        self.ident, self.var = self.folder / "ident", self.folder / "var"
        for folder in (self.ident, self.var):
            folder.mkdir()
        self.key = SoftwareKey.generate()
        self.node = node_id("nuc-1")

    def formation(self) -> Formation:
        distribution: Any = SimpleNamespace(client=None, settle=None)
        return Formation(
            Means(
                listener=Listener(bind="127.0.0.1", port=0), ident=self.ident, state_dir=self.var,
                run_dir=self.folder, box=BallotBox(self.ident, had_keys=False), distribution=distribution,
                clock=VirtualClock(), times=TurnedTime(), grant=None,  # type: ignore[arg-type]
                floor=lambda keys: FileEpochFloor(self.ident), uniform=lambda a, b: a, log=structlog.get_logger(),
            )
        )  # fmt: skip

    async def turn(self) -> Reason:
        formation = self.formation()
        keys: Any = SimpleNamespace(signer=self.key, sealing=SoftwareKey.generate().public)
        me = Member(node=self.node, name="nuc-1", address="127.0.0.1", signing=self.key.public)
        try:
            return await formation.turn(Site("store-1", self.node, 1, (me,), Election.CLOUD), keys, NOTHING)
        finally:
            await formation.aclose()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


async def test_a_record_of_a_newer_version_is_a_reason_to_see_and_no_crash(box: Box) -> None:
    StateFile(box.ident / NAME, Record, schema=9).save(MEMBER)
    reason = await box.turn()
    assert reason.why is Why.DISTRIBUTION and "newer" in reason.detail


async def test_another_sites_disk_gives_this_site_no_secrets(box: Box) -> None:
    SecretsStore(box.var).save(secrets_of("store-2", 1, 1))
    RecordFile(box.ident, box.var).save(MEMBER)
    reason = await box.turn()
    assert reason.why is Why.SECRETS


def test_the_copy_tells_a_wiped_disk_from_a_lost_file(box: Box) -> None:
    records = RecordFile(box.ident, box.var)
    assert not records.kept
    records.save(MEMBER)
    assert records.kept and RecordFile(box.ident, box.var).kept
    (box.ident / NAME).write_bytes(b"{")
    again = RecordFile(box.ident, box.var)
    assert again.record == MEMBER and again.kept
    (box.var / NAME).unlink()
    wiped = RecordFile(box.ident, box.var)
    assert wiped.record == MEMBER and not wiped.kept


def test_a_full_disk_keeps_the_record_as_it_was(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    records = RecordFile(box.ident, box.var)
    before = records.record

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(state_module, "write_durably", full)
        with pytest.raises(Retryable, match="No space left"):
            records.save(MEMBER)
    assert records.record == before == RecordFile(box.ident, box.var).record
    records.save(MEMBER)
    assert RecordFile(box.ident, box.var).record == MEMBER


def test_a_kubeconfig_is_whole_where_the_disk_takes_it_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data)[:700]))
    made = make_secrets("store-1", 1, TurnedTime())
    plan = ClusterPlan(site="store-1", epoch=1, node="nuc-1", address="10.0.0.1", secrets=made)
    for path in grants.write_access(plan, DistributionSettings(access_dir=str(tmp_path / "access"))):
        assert b"client-key-data" in Path(path).read_bytes().replace(b"\\", b"")
        assert Path(path).stat().st_mode & 0o777 == 0o400
        assert len(Path(path).read_bytes()) > 2000


class Api:
    """The one Lease of an API server, with its compare and set."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.version = 0

    async def request(self, method: str, path: str, *, body: Object | None = None, timeout: float = 10.0) -> Object:
        if method == "GET":
            if self.lease is None:
                raise KubeRejected(ApiProblem(status=404, reason="NotFound", message="no"))
            return self.lease
        assert body is not None
        if method == "POST" and self.lease is not None:
            raise KubeRejected(ApiProblem(status=409, reason="AlreadyExists", message="there"))
        if method == "PUT" and body["metadata"]["resourceVersion"] != str(self.version):
            raise KubeRejected(ApiProblem(status=409, reason="Conflict", message="changed"))
        self.version += 1
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return self.lease

    async def connect(self) -> Api:
        return self


async def test_each_turn_of_the_lease_has_a_number_and_two_members_cannot_give_the_same() -> None:
    api = Api()
    one, other = JoinLease(api.connect), JoinLease(api.connect)
    assert await one.holder() == await other.holder() == Held()
    assert await one.take("nuc-2") and not await other.take("nuc-3")
    assert await one.holder() == await other.holder() == Held("nuc-2", 1)
    assert await other.take("nuc-2") and not await one.take("nuc-3")
    assert await one.holder() == Held("nuc-2", 2)
    assert api.lease is not None
    api.lease["spec"] = {"holderIdentity": None, "leaseTransitions": "x"}
    assert await one.holder() == Held()


async def test_nobody_joins_while_a_member_renews_and_one_that_is_gone_keeps_nobody_out() -> None:
    world = World(3)
    await world.round(40)
    assert world.formed()
    usher = world.nodes["n0"].usher
    holder = "nuc-n1"

    async def renews() -> str:
        return holder

    usher._renews = renews
    answer = await usher.ask("n2", SlotRequest(epoch=1, fresh=False))
    assert not answer.granted and answer.reason == "nuc-n1 renews its certificates, joins wait"
    world.disks["n1"].wipe_var()
    assert (await usher.ask("n2", SlotRequest(epoch=1, fresh=False))).granted
