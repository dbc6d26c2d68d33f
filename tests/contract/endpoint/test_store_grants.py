"""What every Store must do about epochs: one grant for each, voters fixed once, an epoch raised by one."""

from __future__ import annotations

import asyncio

import pytest

from agents.contracts.election import InitAsk, InitGrant
from agents.contracts.identity import Election, EnrolRequest, EnrolStatus
from agents.contracts.ids import node_id
from agents.core.errors import Rejected
from agents.core.jose import SoftwareKey
from cloud_endpoint.records import SiteRecord
from cloud_endpoint.store import audit, devices, enrol, grants, sites, voters
from cloud_endpoint.store.port import Store, Tx
from tests.fakes.store_kit import NOW, Clock, Opener, enrolled

SITE = "store-1"


async def ask(store: Store, node: str, epoch: int = 1, *, want: bool = True, site: str = SITE) -> InitGrant:
    return await store.write(lambda tx: grants.ask(tx, node, site, InitAsk(epoch=epoch, want=want)))


async def raised(
    store: Store, to: int, election: Election | None = None, authorisation: str = "", *, restore: bool = False
) -> SiteRecord:
    return await store.write(
        lambda tx: grants.raise_epoch(
            tx, SITE, to, election=election, authorisation=authorisation, actor="op:a", restore=restore
        )
    )


async def three(store: Store) -> list[str]:
    return [await enrolled(store, f"hw-{n}", name=f"n{n}") for n in range(3)]


async def test_the_first_has_it_for_ever_and_is_told_so_again(store: Store, clock: Clock, reopen: Opener) -> None:
    a, b, _ = await three(store)
    assert (await ask(store, b, want=False)).node is None
    first = await ask(store, b)
    assert first == InitGrant(site=SITE, epoch=1, node=b, yours=True, granted_ms=NOW)
    clock.ms += 60_000
    assert await ask(store, b) == first
    assert (await ask(store, a)) == InitGrant(site=SITE, epoch=1, node=b, yours=False, granted_ms=NOW)
    lines = [one for one in await store.read(audit.recent) if one.action == "init grant"]
    assert [(one.actor, one.target) for one in lines] == [(b, SITE)]
    await store.aclose()
    again = await reopen()
    try:
        assert (await ask(again, a)).node == b
        assert [one.node for one in await again.read(lambda tx: grants.every(tx, SITE))] == [b]
    finally:
        await again.aclose()


A, B = "a" * 32, "b" * 32


async def begins(store: Store, node: str, number: str, epoch: int = 1) -> tuple[bool, bool]:
    said = await store.write(lambda tx: grants.ask(tx, node, SITE, InitAsk(epoch=epoch, begins=number)))
    return said.begun, said.same


async def test_the_grantees_first_word_that_it_begins_stands(store: Store, clock: Clock, reopen: Opener) -> None:
    a, b, _ = await three(store)
    assert not (await ask(store, a)).begun
    assert await begins(store, b, B) == (False, False)  # not the grantee: it says nothing
    assert await begins(store, a, A) == (True, True)
    clock.ms += 60_000
    assert await begins(store, a, A) == (True, True)  # cut before it could note the answer
    assert await begins(store, a, B) == (True, False)  # an old copy of its disk
    assert await begins(store, b, A) == (True, False)
    told = await ask(store, a)
    assert (told.begun, told.same) == (True, False)
    assert (await store.read(lambda tx: grants.every(tx, SITE)))[0].begun_ms == NOW
    lines = [one for one in await store.read(audit.recent) if one.action == "cluster init begins"]
    assert [(one.actor, one.target) for one in lines] == [(a, SITE)]
    await store.aclose()
    again = await reopen()
    try:
        assert await begins(again, a, B) == (True, False)
        await raised(again, 2)
        assert await begins(again, b, B, epoch=2) == (True, True)
    finally:
        await again.aclose()


async def test_of_many_words_at_once_one_stands(store: Store) -> None:
    a, *_ = await three(store)
    await ask(store, a)
    numbers = [f"{n:032x}" for n in range(20)]
    answers = await asyncio.gather(*(begins(store, a, numbers[n % 20]) for n in range(60)))
    assert {begun for begun, _ in answers} == {True}
    assert sum(same for _, same in answers) == 3


async def test_an_epoch_is_restored_or_not_for_as_long_as_it_lasts(store: Store) -> None:
    a, *_ = await three(store)
    assert (await raised(store, 2, restore=True)).restore
    assert (await raised(store, 2, restore=True)).restore
    with pytest.raises(Rejected, match="the site's epoch is 2"):
        await raised(store, 2)
    document = await store.read(lambda tx: sites.document(tx, a, [], []))
    assert document is not None and document.restore
    assert not (await raised(store, 3)).restore


async def test_many_at_once_have_one_holder(store: Store) -> None:
    nodes = await three(store)
    answers = await asyncio.gather(*(ask(store, nodes[n % 3]) for n in range(60)))
    assert len({one.node for one in answers}) == 1
    assert sum(one.yours for one in answers) == 20


async def test_another_epoch_another_site_and_a_revoked_device_are_refused(store: Store) -> None:
    a, b, _ = await three(store)
    with pytest.raises(Rejected, match="epoch is 1, and not 2"):
        await ask(store, a, epoch=2)
    with pytest.raises(Rejected, match="not enrolled"):
        await ask(store, a, site="store-2")
    await store.write(lambda tx: sites.revoke(tx, a))
    with pytest.raises(Rejected, match="not enrolled"):
        await ask(store, a)
    assert (await ask(store, b)).yours


async def test_a_new_key_of_the_holder_does_not_hold_it(store: Store) -> None:
    node = await enrolled(store)
    assert (await ask(store, node)).yours
    await store.write(lambda tx: sites.revoke(tx, node))
    again = await enrolled(store)
    said = await ask(store, again)
    assert (again, said.node, said.yours) == (node, node, False)


async def test_each_epoch_has_a_grant_of_its_own_and_the_old_one_is_over(store: Store) -> None:
    a, b, _ = await three(store)
    await ask(store, a)
    before = (await store.read(lambda tx: sites.get(tx, SITE))).generation  # type: ignore[union-attr]
    site = await raised(store, 2, authorisation="a.b.c")
    assert (site.epoch, site.election, site.epoch_authorisation) == (2, Election.CLOUD, "a.b.c")
    assert site.generation > before
    with pytest.raises(Rejected, match="epoch is 2, and not 1"):
        await ask(store, a, epoch=1)
    assert (await ask(store, b, epoch=2)).node == b
    found = await store.read(lambda tx: grants.every(tx, SITE))
    assert [(one.epoch, one.node) for one in found] == [(2, b), (1, a)]
    document = await store.read(lambda tx: sites.document(tx, a, [], []))
    assert document is not None
    assert (document.epoch, document.election, document.epoch_authorisation) == (2, Election.CLOUD, "a.b.c")


async def test_an_epoch_is_raised_by_one_and_asked_again_it_stands(store: Store) -> None:
    await three(store)
    for wrong in (0, 3):
        with pytest.raises(Rejected, match="the next is 2"):
            await raised(store, wrong)
    made = await raised(store, 2, Election.OFFLINE)
    assert await raised(store, 2) == made
    with pytest.raises(Rejected, match="the next is 3"):
        await raised(store, 2, Election.CLOUD)
    lines = [one for one in await store.read(audit.recent) if one.action == "site epoch"]
    assert [(one.actor, one.detail) for one in lines] == [("op:a", "1 to 2, offline")]
    with pytest.raises(Rejected, match="no site"):
        await store.write(
            lambda tx: grants.raise_epoch(tx, "nowhere", 2, election=None, authorisation="", actor="op:a")
        )


async def test_who_decides_never_changes_within_an_epoch(store: Store) -> None:
    (a, *_) = await three(store)
    with pytest.raises(Rejected, match="changes with the epoch"):
        await store.write(lambda tx: sites.put(tx, SITE, {}, None, Election.OFFLINE))
    site = await store.write(lambda tx: sites.put(tx, SITE, {"ring": "1"}, None, Election.CLOUD))
    assert site.labels == {"ring": "1"}
    await raised(store, 2, Election.OFFLINE)
    with pytest.raises(Rejected, match="offline"):
        await ask(store, a, epoch=2)
    assert (await raised(store, 3)).election is Election.OFFLINE


def request(hardware: str) -> EnrolRequest:
    return EnrolRequest(
        hardware_id=hardware,
        signing=SoftwareKey.generate().public,
        sealing=SoftwareKey.generate().public,
        proof="",
        code="code",
    )


def shipped(tx: Tx, *names: str) -> None:
    for name in names:
        code = enrol.code_hash(name, "code")
        sites.ship(tx, hardware_id=name, site=SITE, name=name, address="", proof="code", code_hash=code)


async def offline(store: Store) -> None:
    """An offline site with `n1 n2 n3` shipped, and none enrolled."""

    def work(tx: Tx) -> None:
        sites.put(tx, SITE, {}, None, Election.OFFLINE)
        shipped(tx, "n1", "n2", "n3")

    await store.write(work)


async def join(store: Store, name: str) -> str:
    said = await store.write(lambda tx: enrol.enrol(tx, request(name), ""))
    assert said.status is EnrolStatus.ENROLLED
    return said.node


async def votes(store: Store, epoch: int = 1) -> list[tuple[str, str]]:
    return [(one.node, one.kid) for one in await store.read(lambda tx: voters.of(tx, SITE, epoch))]


async def keys(store: Store, *nodes: str) -> list[tuple[str, str]]:
    found = [await store.read(lambda tx, node=node: devices.get(tx, node)) for node in sorted(nodes)]  # type: ignore[misc]
    return [(one.node, one.signing_kid) for one in found if one is not None]


async def test_voters_are_fixed_when_the_last_shipped_device_enrolled(store: Store) -> None:
    await offline(store)
    nodes = [await join(store, "n1"), await join(store, "n2")]
    assert await votes(store) == []
    nodes.append(await join(store, "n3"))
    assert await votes(store) == await keys(store, *nodes)
    document = await store.read(lambda tx: sites.document(tx, nodes[0], [], []))
    assert document is not None and document.election is Election.OFFLINE
    assert [one.node for one in document.voters] == sorted(nodes)


async def test_a_replaced_box_votes_from_the_next_epoch_on(store: Store) -> None:
    await offline(store)
    nodes = [await join(store, name) for name in ("n1", "n2", "n3")]
    old = await votes(store)
    await store.write(lambda tx: sites.revoke(tx, nodes[2]))
    await store.write(lambda tx: shipped(tx, "n3", "n4"))
    await join(store, "n3")
    fourth = await join(store, "n4")
    assert await votes(store) == old
    await raised(store, 2)
    assert await votes(store, 2) == await keys(store, *nodes, fourth)
    assert await votes(store, 1) == old


async def test_a_revoked_device_is_waited_for_no_longer(store: Store) -> None:
    await offline(store)
    first, second = await join(store, "n1"), await join(store, "n2")
    await store.write(lambda tx: sites.revoke(tx, first))
    third = await join(store, "n3")
    assert await votes(store) == await keys(store, second, third)
    assert node_id("n1") == first


async def test_where_the_cloud_decides_nobody_votes(store: Store) -> None:
    await three(store)
    assert await votes(store) == []
