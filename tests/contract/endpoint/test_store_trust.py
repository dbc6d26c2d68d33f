"""Trust documents in every Store: what is kept, what is refused, and which roster comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from agents.contracts.codec import encode
from agents.contracts.identity import Election, EnrolRequest, SiteDocument
from agents.contracts.signed import SignedDocument
from agents.contracts.trust import MemberRole, OperatorKey
from agents.core.errors import Rejected
from agents.core.jose import thumbprint
from agents.core.trust import VerifiedRoster
from agents.core.trust_codes import TrustCode, TrustRefused
from cloud_endpoint.store import audit, enrol, grants, sites, trust
from cloud_endpoint.store.port import Store, Tx
from tests.fakes.store_kit import NOW as NOW_MS
from tests.fakes.store_kit import Clock, Opener
from tests.fakes.trust_kit import (
    ALICE,
    BOB,
    BOXES,
    ENDPOINT,
    MALLORY,
    SITE,
    STRANGER,
    Box,
    authorisation,
    chained,
    judge,
    operators,
    operators_document,
    raw_entry,
)

ONE, TWO, THREE = BOXES
BOTH = [OperatorKey(name="alice", key=ALICE.public), OperatorKey(name="bob", key=BOB.public)]


async def ship(store: Store, box: Box, *, site: str = SITE) -> None:
    def work(tx: Tx) -> None:
        if sites.get(tx, site) is None:
            sites.put(tx, site, {}, None)
        sites.ship(
            tx, hardware_id=box.hardware, site=site, name=box.name, address=box.address, proof="code",
            code_hash=enrol.code_hash(box.hardware, "code"),
        )  # fmt: skip

    await store.write(work)


async def enrolled(store: Store, box: Box) -> None:
    request = EnrolRequest(
        hardware_id=box.hardware, signing=box.signing.public, sealing=box.sealing.public, proof="", code="code"
    )
    await store.write(lambda tx: enrol.enrol(tx, request, ""))


async def put(store: Store, signed: SignedDocument) -> Any:
    return await store.write(lambda tx: trust.put_entry(tx, signed, "op:alice"))


async def push(store: Store, signed: SignedDocument, *, orphans: bool = False) -> Any:
    return await store.write(lambda tx: trust.push(tx, signed, "op:alice", orphans=orphans))


async def document(store: Store, box: Box = ONE, **more: Any) -> SiteDocument:
    def work(tx: Tx) -> SiteDocument:
        found = sites.document(tx, box.node, [], [])
        assert found is not None
        return trust.signed_site(tx, found, ENDPOINT, **more)

    return await store.read(work)


async def roster(store: Store, **arguments: Any) -> VerifiedRoster:
    """As a node that knows Alice judges it."""
    signed = (await document(store)).roster_jws
    assert signed is not None
    return judge(signed, **arguments)


@pytest.fixture
async def ready(store: Store) -> Store:
    """Alice's document, three shipped boxes with her entries, the first two enrolled."""
    await push(store, chained(operators_document()))
    for box in BOXES:
        await ship(store, box)
        await put(store, raw_entry(box.entry()))
    await enrolled(store, ONE)
    await enrolled(store, TWO)
    return store


async def test_the_roster_is_one_that_nodes_believe_and_the_same_each_time(ready: Store, reopen: Opener) -> None:
    found = await roster(ready)
    assert [one.node for one in found.members()] == sorted(box.node for box in BOXES)
    assert found.allowed(TWO.node, TWO.signing.public) and not found.allowed(THREE.node, THREE.signing.public)
    assert (await roster(ready)).digest == found.digest
    await enrolled(ready, THREE)
    after = await roster(ready, known=found.known)
    assert after.allowed(THREE.node, THREE.signing.public) and after.known.generation > found.known.generation
    await ready.aclose()
    again = await reopen()
    assert (await roster(again)).digest == after.digest
    await again.aclose()


async def test_epoch_and_election_are_what_is_asked_for(ready: Store) -> None:
    text = encode(authorisation()).decode()
    await ready.write(lambda tx: trust.check_authorisation(tx, SITE, 2, text, restore=False))
    await ready.write(
        lambda tx: grants.raise_epoch(tx, SITE, 2, election=Election.OFFLINE, authorisation=text, actor="op:a")
    )
    signed = (await document(ready)).roster_jws
    assert signed is not None
    found = judge(signed)
    assert (found.roster.epoch, found.roster.election) == (2, Election.OFFLINE)
    for wrong in ("", "a.b.c", text):
        with pytest.raises(TrustRefused):
            await ready.write(lambda tx, wrong=wrong: trust.check_authorisation(tx, SITE, 3, wrong, restore=False))


@pytest.mark.parametrize("signed", [False, True])
async def test_that_an_epoch_is_restored_is_the_operators_word(ready: Store, signed: bool) -> None:
    text = encode(authorisation(restore=signed)).decode()
    await ready.write(lambda tx: trust.check_authorisation(tx, SITE, 2, text, restore=signed))
    with pytest.raises(TrustRefused, match="--restore"):
        await ready.write(lambda tx: trust.check_authorisation(tx, SITE, 2, text, restore=not signed))
    await ready.write(
        lambda tx: grants.raise_epoch(tx, SITE, 2, election=None, authorisation=text, actor="op:a", restore=signed)
    )
    told = (await document(ready)).roster_jws
    assert told is not None and judge(told).restore is signed


async def test_without_operators_every_device_is_a_member_without_an_entry(store: Store) -> None:
    for box in BOXES:
        await ship(store, box)
    await enrolled(store, ONE)
    signed = (await document(store)).roster_jws
    assert signed is not None
    with pytest.raises(TrustRefused) as refused:
        judge(signed)
    assert refused.value.code is TrustCode.ENTRY_MISSING
    with pytest.raises(Rejected, match="no operators' document"):
        await put(store, raw_entry(ONE.entry()))


async def test_a_device_without_an_entry_is_left_out_where_others_have_one_and_that_is_told(ready: Store) -> None:
    await ship(ready, STRANGER)
    await enrolled(ready, STRANGER)
    assert (await roster(ready)).member(STRANGER.node) is None
    (alert,) = await ready.read(lambda tx: audit.alerts(tx, site=SITE))
    assert (alert.code, alert.node) == ("entry-missing", STRANGER.node)
    await ready.write(lambda tx: trust.note_missing(tx, SITE, ONE.node))
    assert len(await ready.read(lambda tx: audit.alerts(tx, site=SITE))) == 1
    await put(ready, raw_entry(STRANGER.entry(role=MemberRole.WORKER)))
    found = await roster(ready)
    assert found.member(STRANGER.node) is not None and len(found.servers()) == 3


REFUSED: dict[str, tuple[type[Exception], str, Any]] = {
    "by nobody we know": (TrustRefused, "unknown key", lambda: raw_entry(ONE.entry(sequence=11), MALLORY)),
    "by the endpoint": (TrustRefused, "unknown key", lambda: raw_entry(ONE.entry(sequence=11), ENDPOINT)),
    "the same again": (Rejected, "sequence 10 is not above 10", lambda: raw_entry(ONE.entry())),
    "an older one": (Rejected, "sequence 9 is not above 10", lambda: raw_entry(ONE.entry(sequence=9))),
    "another name": (Rejected, "shipping list", lambda: raw_entry(ONE.entry(sequence=11, name="x"))),
    "another site": (Rejected, "shipping list", lambda: raw_entry(ONE.entry(sequence=11, site="store-9"))),
    "not shipped": (Rejected, "shipping list", lambda: raw_entry(STRANGER.entry())),
    "withdrawn where there is no site": (
        Rejected, "no site", lambda: raw_entry(ONE.entry(sequence=11, site="store-9", withdrawn=True)),
    ),
    "no entry": (TrustRefused, "payload", lambda: authorisation()),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_an_entry_is_refused_and_nothing_changes(ready: Store, case: str) -> None:
    error, text, make = REFUSED[case]
    before = await roster(ready)
    with pytest.raises(error, match=text):
        await put(ready, make())
    assert (await roster(ready)).digest == before.digest


async def test_a_revoked_device_is_in_no_roster_and_comes_back_when_shipped_anew(ready: Store) -> None:
    before = await roster(ready)
    await ready.write(lambda tx: sites.revoke(tx, TWO.node))
    found = await roster(ready, known=before.known)
    assert found.member(TWO.node) is None and found.known.generation > before.known.generation
    await ship(ready, TWO)
    assert not (await roster(ready, known=found.known)).allowed(TWO.node, TWO.signing.public)
    await enrolled(ready, TWO)
    assert (await roster(ready, known=found.known)).allowed(TWO.node, TWO.signing.public)


async def test_other_keys_of_an_enrolled_device_wait_for_a_newer_entry_and_hold_up_nobody(ready: Store) -> None:
    """An admin's approval alone must not make a roster that every node refuses."""
    before = await roster(ready)
    again = Box(2)
    await ready.write(lambda tx: sites.revoke(tx, TWO.node))
    await ship(ready, TWO)
    await enrolled(ready, again)
    found = await roster(ready, known=before.known)
    member = found.member(TWO.node)
    assert member is not None and member.signing == {}
    alerts = await ready.read(lambda tx: audit.alerts(tx, site=SITE))
    assert [(one.node, "sign a new one" in one.text) for one in alerts] == [(TWO.node, True)]
    await put(ready, raw_entry(TWO.entry(sequence=11)))
    assert (await roster(ready, known=found.known)).allowed(TWO.node, again.signing.public)


async def test_a_withdrawal_revokes_and_stays_in_the_roster_for_nodes_to_remember(ready: Store) -> None:
    before = await roster(ready)
    await put(ready, raw_entry(TWO.entry(sequence=11, withdrawn=True)))
    found = await roster(ready, known=before.known)
    assert found.member(TWO.node) is None and found.known.seen[TWO.node].withdrawn
    devices = await ready.read(lambda tx: tx.execute("SELECT status FROM devices WHERE node = ?", (TWO.node,)))
    assert devices[0]["status"] == "revoked"


async def test_keys_that_came_after_the_entrys_end_are_not_in_the_roster(ready: Store, clock: Clock) -> None:
    await put(ready, raw_entry(THREE.entry(sequence=11, expires=NOW_MS // 1000 + 60)))
    clock.ms += 61_000
    await enrolled(ready, THREE)
    assert (await roster(ready)).member(THREE.node).signing == {}  # type: ignore[union-attr]
    assert [one.node for one in await ready.read(lambda tx: audit.alerts(tx, site=SITE))] == [THREE.node]
    await put(ready, raw_entry(THREE.entry(sequence=12)))
    assert (await roster(ready)).allowed(THREE.node, THREE.signing.public)


async def test_a_device_whose_keys_its_entry_does_not_name_is_left_out(ready: Store) -> None:
    await put(ready, raw_entry(TWO.entry(sequence=11, signing=thumbprint(MALLORY.public))))
    assert (await roster(ready)).member(TWO.node) is None
    await put(ready, raw_entry(TWO.entry(sequence=12, signing=thumbprint(TWO.signing.public))))
    assert (await roster(ready)).allowed(TWO.node, TWO.signing.public)


async def test_operators_documents_come_in_order_and_are_handed_out_above_a_generation(ready: Store) -> None:
    second, third = chained(operators_document(2, keys=BOTH)), chained(operators_document(3, keys=BOTH), BOB)
    with pytest.raises(TrustRefused, match="does not follow"):
        await push(ready, third)
    with pytest.raises(TrustRefused, match="unknown key"):
        await push(ready, chained(operators_document(2, keys=BOTH), MALLORY))
    await push(ready, second)
    await push(ready, third)
    assert (await document(ready)).operators[1:] == [second, third]
    assert (await document(ready, operators_after=2)).operators == [third]
    assert (await document(ready, operators_after=3)).operators == []
    assert [one.generation for one in await ready.read(trust.listed)] == [1, 2, 3]


async def test_a_key_that_entries_stand_on_is_not_removed_unawares(ready: Store) -> None:
    await push(ready, chained(operators_document(2, keys=BOTH)))
    alone = chained(operators_document(3, keys=BOTH[1:]), ALICE)
    with pytest.raises(Rejected, match=rf"3 shipping entries .*{SITE}/{ONE.node}.* retire"):
        await push(ready, alone)
    retired = [OperatorKey(name="alice", key=ALICE.public, retired=ONE.entry().issued), BOTH[1]]
    before = await roster(ready)
    await push(ready, chained(operators_document(3, keys=retired), BOB))
    assert (await roster(ready, operators=operators(keys=retired))).digest == before.digest
    await push(ready, chained(operators_document(4, keys=BOTH[1:]), BOB), orphans=True)
    bob = operators(keys=BOTH[1:])
    emptied = await roster(ready, operators=bob, known=before.known)
    assert emptied.members() == [] and emptied.known.generation > before.known.generation
    for box in BOXES:
        await put(ready, raw_entry(box.entry(sequence=11), BOB))
    assert len((await roster(ready, operators=bob, known=emptied.known)).members()) == 3


async def test_a_store_from_a_backup_is_raised_above_what_nodes_have_seen(ready: Store) -> None:
    seen = (await roster(ready)).known
    await ready.write(lambda tx: tx.execute("UPDATE sites SET generation = 1"))  # the backup is of an older day
    with pytest.raises(TrustRefused) as refused:
        await roster(ready, known=seen)
    assert refused.value.code is TrustCode.GENERATION
    raised = await ready.write(lambda tx: trust.raise_generation(tx, SITE, seen.generation, "op:alice"))
    assert raised.generation == seen.generation + 1
    assert (await roster(ready, known=seen)).known.generation == raised.generation
    again = await ready.write(lambda tx: trust.raise_generation(tx, SITE, 2, "op:alice"))
    assert again.generation == raised.generation
    with pytest.raises(Rejected, match="no site"):
        await ready.write(lambda tx: trust.raise_generation(tx, "store-9", 2, "op:alice"))


async def test_a_store_of_the_version_before_gains_the_tables(tmp_path: Any, clock: Clock) -> None:
    import sqlite3

    from cloud_endpoint.store.schema import MIGRATIONS, statements
    from cloud_endpoint.store.sqlite import SqliteStore

    path = tmp_path / "old.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE galley_schema (version BIGINT NOT NULL)")
        connection.execute("INSERT INTO galley_schema VALUES (3)")
        for migration in MIGRATIONS[:3]:
            for statement in statements(migration, "INTEGER PRIMARY KEY AUTOINCREMENT"):
                connection.execute(statement)
    store = await SqliteStore.open(path, clock)
    await push(store, chained(operators_document()))
    assert len(await store.read(trust.listed)) == 1
    await store.aclose()
