"""Workers in every Store: an operator's entry takes a device's vote, its grant and the wait for it."""

from __future__ import annotations

import pytest

from agents.contracts.election import InitAsk
from agents.contracts.identity import Election, EnrolRequest
from agents.contracts.trust import MemberRole
from agents.core.errors import Rejected
from cloud_endpoint.store import enrol, grants, sites, trust, voters
from cloud_endpoint.store.port import Store, Tx
from tests.fakes.trust_kit import BOXES, SITE, STRANGER, Box, chained, operators_document, raw_entry

WORKER = STRANGER


def ship(tx: Tx, box: Box, role: MemberRole) -> None:
    sites.ship(
        tx, hardware_id=box.hardware, site=SITE, name=box.name, address=box.address, proof="code",
        code_hash=enrol.code_hash(box.hardware, "code"),
    )  # fmt: skip
    trust.put_entry(tx, raw_entry(box.entry(role=role)), "op:alice")


async def enrolled(store: Store, box: Box) -> None:
    request = EnrolRequest(
        hardware_id=box.hardware, signing=box.signing.public, sealing=box.sealing.public, proof="", code="code"
    )
    await store.write(lambda tx: enrol.enrol(tx, request, ""))


async def shipped(store: Store, election: Election) -> None:
    def work(tx: Tx) -> None:
        sites.put(tx, SITE, {}, None, election)
        trust.push(tx, chained(operators_document()), "op:alice", orphans=False)
        for box in BOXES:
            ship(tx, box, MemberRole.SERVER)
        ship(tx, WORKER, MemberRole.WORKER)

    await store.write(work)


async def votes(store: Store) -> list[str]:
    return [one.node for one in await store.read(lambda tx: voters.of(tx, SITE, 1))]


@pytest.mark.parametrize("first", [True, False], ids=["it enrols first", "it enrols later"])
async def test_a_worker_has_no_vote_and_is_not_waited_for(store: Store, first: bool) -> None:
    await shipped(store, Election.OFFLINE)
    if first:
        await enrolled(store, WORKER)
    for box in BOXES:
        assert await votes(store) == []
        await enrolled(store, box)
    await enrolled(store, WORKER)
    assert await votes(store) == sorted(box.node for box in BOXES)


async def test_a_worker_begins_no_cluster(store: Store) -> None:
    await shipped(store, Election.CLOUD)
    await enrolled(store, WORKER)
    await enrolled(store, BOXES[0])

    with pytest.raises(Rejected, match="a worker begins no cluster"):
        await store.write(lambda tx: grants.ask(tx, WORKER.node, SITE, InitAsk(epoch=1, want=True)))
    looked = await store.write(lambda tx: grants.ask(tx, WORKER.node, SITE, InitAsk(epoch=1, want=False)))
    assert not looked.node and not looked.yours
    granted = await store.write(lambda tx: grants.ask(tx, BOXES[0].node, SITE, InitAsk(epoch=1, want=True)))
    assert granted.yours
