"""What every Store must do about reports on acceptance: whose signature counts, which is the last, what is kept."""

from __future__ import annotations

import msgspec
import pytest

from agents.core.errors import Rejected
from agents.core.jose import SoftwareKey
from cloud_endpoint.app.fleet import site_view
from cloud_endpoint.rules.acceptance import judge_site
from cloud_endpoint.rules.acceptance_report import AcceptanceRecord, AcceptanceRefused, AcceptanceReport, sign_report
from cloud_endpoint.store import acceptances, audit, clients, grants, sites
from cloud_endpoint.store.port import Store
from tests.fakes.store_kit import Clock, Opener, enrolled

SITE = "store-1"


async def operator(store: Store, name: str = "ann", site: str | None = None) -> SoftwareKey:
    """An operator with a command key, which is answered."""
    login, key = SoftwareKey.generate().public, SoftwareKey.generate("Ed25519")
    await store.write(lambda tx: clients.add_operator(tx, name, login, ["admin"], command_key=key.public, site=site))
    return key


async def report(store: Store, site: str = SITE) -> AcceptanceReport:
    view = await store.read(lambda tx: site_view(tx, site))
    assert view is not None
    return judge_site(view)


async def put(store: Store, made: AcceptanceReport, key: SoftwareKey, site: str = SITE) -> AcceptanceRecord:
    signed = sign_report(made, key)
    return await store.write(lambda tx: acceptances.put(tx, site, signed, "op:x"))


async def last(store: Store, site: str = SITE) -> AcceptanceRecord | None:
    return await store.read(lambda tx: acceptances.last(tx, site))


async def test_the_last_report_of_each_site_is_given_as_it_was_signed(
    store: Store, clock: Clock, reopen: Opener
) -> None:
    await enrolled(store)
    await store.write(lambda tx: sites.put(tx, "store-2", {}, None))
    key = await operator(store)
    assert await last(store) is None
    first = await put(store, await report(store), key)
    assert (first.accepted, first.signed_by, first.epoch) == (False, "ann", 1)
    clock.ms += 1000
    good = msgspec.structs.replace(
        await report(store), checks=[msgspec.structs.replace(one, ok=True) for one in first.report.checks]
    )
    second = await put(store, good, key)
    assert second.accepted and second.report == good and second.signed == sign_report(good, key)
    assert await last(store) == second and await last(store, "store-2") is None
    await store.aclose()
    again = await reopen()
    try:
        assert await last(again) == second
    finally:
        await again.aclose()


async def test_a_report_sent_twice_or_older_than_the_last_is_refused(store: Store, clock: Clock) -> None:
    await enrolled(store)
    key = await operator(store)
    old = await report(store)
    clock.ms += 1000
    stored = await put(store, await report(store), key)
    for made in (stored.report, old):
        with pytest.raises(Rejected, match="later one"):
            await put(store, made, key)
    assert await last(store) == stored


async def test_whose_word_does_not_count_here_changes_nothing(store: Store) -> None:
    await enrolled(store)
    made = await report(store)
    stranger, elsewhere = SoftwareKey.generate("Ed25519"), await operator(store, "bob", "store-2")
    gone = await operator(store, "eve")
    await store.write(lambda tx: clients.revoke_operator(tx, "eve"))
    for key in (stranger, elsewhere, gone):
        with pytest.raises(AcceptanceRefused, match="unknown key"):
            await put(store, made, key)
    assert await last(store) is None
    local = await operator(store, "ann", SITE)
    assert (await put(store, made, local)).signed_by == "ann"


async def test_a_report_of_an_epoch_that_is_over_is_refused(store: Store) -> None:
    await enrolled(store)
    key, made = await operator(store), await report(store)
    await store.write(lambda tx: grants.raise_epoch(tx, SITE, 2, election=None, authorisation="", actor="op:x"))
    with pytest.raises(AcceptanceRefused, match="epoch 1"):
        await put(store, made, key)
    with pytest.raises(Rejected, match="no site"):
        await put(store, made, key, "store-9")


async def test_the_last_few_are_kept_and_the_audit_has_them_all(store: Store, clock: Clock) -> None:
    await enrolled(store)
    key = await operator(store)
    for _ in range(acceptances.KEPT + 2):
        clock.ms += 1000
        await put(store, await report(store), key)
    rows = await store.read(lambda tx: tx.execute("SELECT COUNT(*) AS n, MAX(checked_ms) AS last FROM acceptances"))
    assert (rows[0]["n"], rows[0]["last"]) == (acceptances.KEPT, clock.ms)
    lines = [one for one in await store.read(audit.recent) if one.action == "site acceptance"]
    assert len(lines) == acceptances.KEPT + 2
    assert lines[0].detail.startswith("not accepted: enrolled, ready") and lines[0].detail.endswith("signed by ann")
