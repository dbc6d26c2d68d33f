"""What every Store must do about signers: whose keys count for commands, how many, and the fleet's blast radius."""

from __future__ import annotations

import pytest

from agents.contracts.command import Command, Verb
from agents.contracts.trust import OperatorKey, OperatorsDocument
from agents.core.jose import SoftwareKey, thumbprint
from agents.core.operators import sign_operators
from cloud_endpoint.store import clients, signers, trust
from cloud_endpoint.store.port import Store
from tests.fakes.store_kit import Clock
from tests.fakes.wipe_grant_kit import Site

ALICE, BOB, CAROL, DAVE = (SoftwareKey.generate("Ed25519") for _ in range(4))
HOUR_MS = 3_600_000


async def add(store: Store, name: str, key: SoftwareKey) -> None:
    login = SoftwareKey.generate().public
    await store.write(lambda tx: clients.add_operator(tx, name, login, ["admin"], command_key=key.public))


async def found(store: Store) -> tuple[set[str], int]:
    keys, threshold = await store.read(signers.of)
    assert all(thumbprint(key) == kid for kid, key in keys.items())
    return set(keys), threshold


def kids(*keys: SoftwareKey) -> set[str]:
    return {thumbprint(one.public) for one in keys}


async def push(store: Store, generation: int, threshold: int, **retired: int) -> None:
    named = {"alice": ALICE, "bob": BOB, "carol": CAROL}
    keys = [OperatorKey(name=name, key=key.public, retired=retired.get(name, 0)) for name, key in named.items()]
    document = sign_operators(OperatorsDocument(generation=generation, keys=keys, threshold=threshold), [ALICE, BOB])
    await store.write(lambda tx: trust.push(tx, document, "op:a", orphans=False))


async def test_without_a_document_those_that_are_registered_count_each_alone(store: Store) -> None:
    assert await found(store) == (set(), 1)
    await add(store, "alice", ALICE)
    await add(store, "dave", DAVE)
    assert await found(store) == (kids(ALICE, DAVE), 1)
    await store.write(lambda tx: clients.revoke_operator(tx, "dave"))
    assert await found(store) == (kids(ALICE), 1)


async def test_with_a_document_its_keys_count_and_its_threshold(store: Store) -> None:
    """As on the nodes: who is registered here and not in the document would be refused there."""
    await add(store, "alice", ALICE)
    await add(store, "dave", DAVE)
    await push(store, 1, 2)
    assert await found(store) == (kids(ALICE, BOB, CAROL), 2)
    await store.write(lambda tx: clients.revoke_operator(tx, "alice"))
    assert await found(store) == (kids(BOB, CAROL), 2)
    await add(store, "alice-again", ALICE)
    assert await found(store) == (kids(ALICE, BOB, CAROL), 2)


async def test_a_retired_key_signs_no_command(store: Store) -> None:
    await push(store, 1, 2)
    await push(store, 2, 2, carol=1)
    assert await found(store) == (kids(ALICE, BOB), 2)


async def asked(store: Store, site: str, radius: int = 2, verb: Verb = Verb.WIPE) -> tuple[int, str]:
    one = Command(
        id="f" * 32, verb=verb, site=site, node="n-" + "a" * 16, sequence=1, challenge="c", issued=1, expires=2
    )
    return await store.read(lambda tx: signers.asked_for(tx, one, 3, radius))


async def test_sites_are_counted_and_not_commands(store: Store, clock: Clock) -> None:
    sites = [await Site(store, clock, f"store-{n}").begin(2) for n in range(3)]
    for number, one in enumerate(sites):
        one._commands = 100 * number
    for _ in range(3):
        for node in sites[0].nodes:
            await sites[0].send(node)
    assert (await asked(store, "store-0"))[0] == (await asked(store, "store-1"))[0] == 0
    await sites[1].send(sites[1].nodes[0], Verb.RETIRE, ("ident",))
    assert (await asked(store, "store-0"))[0] == (await asked(store, "store-1", verb=Verb.RETIRE))[0] == 0
    needed, why = await asked(store, "store-2")
    assert needed == 3 and why == "with it 3 sites are wiped within 24 h, and one word is enough for 2"
    assert (await asked(store, "store-2", radius=3))[0] == 0
    assert (await asked(store, "store-0", radius=0))[0] == 3


async def test_other_verbs_neither_count_nor_ask(store: Store, clock: Clock) -> None:
    one = await Site(store, clock, "store-0").begin(1)
    for verb in (Verb.SYNC, Verb.REBOOT, Verb.REJOIN, Verb.UPGRADE, Verb.ROTATE):
        await one.send(one.nodes[0], verb, ())
        assert await asked(store, "store-1", radius=0, verb=verb) == (0, "")
    assert (await asked(store, "store-1", radius=1))[0] == 0


async def test_after_a_day_a_wipe_counts_no_longer(store: Store, clock: Clock) -> None:
    one = await Site(store, clock, "store-0").begin(1)
    await one.send(one.nodes[0])
    clock.ms += 24 * HOUR_MS - 1
    assert (await asked(store, "store-1", radius=1))[0] == 3
    clock.ms += 1
    assert (await asked(store, "store-1", radius=1))[0] == 0


@pytest.mark.parametrize("outcome", ["refused", "failed", "done"])
async def test_whatever_came_of_it_it_counts(store: Store, clock: Clock, outcome: str) -> None:
    one = await Site(store, clock, "store-0").begin(1)
    await one.answer(one.nodes[0], await one.send(one.nodes[0]), outcome)
    assert (await asked(store, "store-1", radius=1))[0] == 3
