"""The gate before a cluster is begun: the endpoint hears it first, from one life of a box's disk and from no other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from agents.contracts.election import InitAsk, InitGrant
from agents.contracts.identity import Election
from agents.core.errors import Retryable
from edge_commander.election.box import BallotBox
from edge_commander.formation.gate import BallotGate
from edge_commander.formation.permission import BegunBefore, Choice
from edge_commander.formation.site import Site
from tests.fakes.election_lan import NODES, SITE, me

ONE, TWO = NODES[:2]
LOST = "the answer is lost"


def site(node: str = ONE, epoch: int = 1, election: Election = Election.CLOUD) -> Site:
    return Site(site=SITE, me=node, epoch=epoch, roster=(), election=election)


class Endpoint:
    """The compare-and-set, as cloud_endpoint.store.grants keeps it. `deaf`: so many answers get lost on the way."""

    def __init__(self) -> None:
        self.holder = ""
        self.begun = ""
        self.deaf = 0
        self.old = False  # one that was made before it kept the word

    def of(self, node: str) -> Any:
        async def ask(asked: InitAsk) -> InitGrant:
            if asked.want and not self.holder:
                self.holder = node
            yours = self.holder == node
            if yours and asked.begins and not self.old:
                self.begun = self.begun or asked.begins
            if self.deaf:
                self.deaf -= 1
                raise Retryable(LOST)
            return InitGrant(
                site=SITE, epoch=asked.epoch, node=self.holder or None, yours=yours,
                begun=bool(self.begun), same=yours and bool(self.begun) and self.begun == asked.begins,
            )  # fmt: skip

        return ask


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


def gate(folder: Path, endpoint: Endpoint | None, node: str = ONE) -> BallotGate:
    """As a start of the daemon makes it from the disk."""
    elector: Any = None
    folder.mkdir(exist_ok=True)
    grant = endpoint.of(node) if endpoint is not None else None
    return BallotGate(BallotBox(folder, had_keys=False), me(node), elector, grant)


async def test_who_only_learns_is_granted_nothing(tmp_path: Path, endpoint: Endpoint) -> None:
    with pytest.raises(Retryable, match="nobody is decided on yet"):
        await gate(tmp_path / "a", endpoint).decide(site(), begins=False)
    assert endpoint.holder == ""
    assert await gate(tmp_path / "b", endpoint, TWO).decide(site(TWO), begins=True) == Choice(TWO, may_begin=True)
    assert await gate(tmp_path / "a", endpoint).decide(site(), begins=False) == Choice(TWO, may_begin=False)


async def test_the_word_is_the_same_over_lost_answers_and_starts(tmp_path: Path, endpoint: Endpoint) -> None:
    await gate(tmp_path, endpoint).decide(site(), begins=True)
    endpoint.deaf = 2
    for _ in range(2):
        with pytest.raises(Retryable, match=LOST):
            await gate(tmp_path, endpoint).claim(site())
    word = endpoint.begun
    assert len(word) == 32
    for _ in range(2):
        again = gate(tmp_path, endpoint)
        await again.claim(site())
        await again.begin(site(), resumes=False)
    assert endpoint.begun == word


@pytest.mark.parametrize("moment", ["granted", "nothing"])
async def test_an_old_copy_of_the_disk_is_told_that_it_was_begun(
    tmp_path: Path, endpoint: Endpoint, moment: str
) -> None:
    there, copy = tmp_path / "there", tmp_path / "copy"
    one = gate(there, endpoint)
    if moment == "nothing":
        shutil.copytree(there, copy)
    await one.decide(site(), begins=True)
    if moment == "granted":
        shutil.copytree(there, copy)
    await one.claim(site())
    old = gate(copy, endpoint)
    await old.decide(site(), begins=True)
    for _ in range(2):
        with pytest.raises(BegunBefore, match="its disk does not know"):
            await old.claim(site())
    await gate(there, endpoint).claim(site())


async def test_each_epoch_has_a_word_of_its_own(tmp_path: Path, endpoint: Endpoint) -> None:
    await gate(tmp_path, endpoint).decide(site(), begins=True)
    await gate(tmp_path, endpoint).claim(site())
    first, endpoint.holder, endpoint.begun = endpoint.begun, "", ""
    await gate(tmp_path, endpoint).decide(site(epoch=2), begins=True)
    await gate(tmp_path, endpoint).claim(site(epoch=2))
    assert endpoint.begun not in ("", first)


async def test_an_endpoint_from_before_keeps_nobody_from_beginning(tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.old = True
    await gate(tmp_path, endpoint).decide(site(), begins=True)
    await gate(tmp_path, endpoint).claim(site())
    assert endpoint.begun == ""


async def test_where_it_is_decided_offline_nobody_is_told(tmp_path: Path) -> None:
    await gate(tmp_path, None).claim(site(election=Election.OFFLINE))
    with pytest.raises(Retryable, match="no endpoint is configured"):
        await gate(tmp_path, None).claim(site())
