"""What every Store must do about wipes: one a site at a time, none that costs the quorum, given back by the answer."""

from __future__ import annotations

import asyncio

import pytest

from agents.contracts.command import Verb
from agents.contracts.messages import NodeState
from agents.contracts.wipe import WipeGrant
from agents.core.errors import Rejected
from cloud_endpoint.app.fleet import site_view
from cloud_endpoint.store import audit, sites, wipe_grants
from cloud_endpoint.store.port import Store
from tests.fakes.store_kit import Clock, Opener
from tests.fakes.wipe_grant_kit import INTERVAL, SITE, Site

ACTIONS = ("wipe grant", "wipe grant back", "wipe grant release")


@pytest.fixture
async def site(store: Store, clock: Clock) -> Site:
    return await Site(store, clock).begin()


async def test_the_first_has_it_and_is_told_so_again_also_after_a_restart(
    site: Site, store: Store, clock: Clock, reopen: Opener
) -> None:
    a, b, _ = site.nodes
    first, second = await site.send(a), await site.send(b)
    assert await site.ask(a, first) == WipeGrant(granted=True, holder=a)
    clock.ms += 1000
    assert await site.ask(a, first) == WipeGrant(granted=True, holder=a)
    said = await site.ask(b, second)
    assert (said.granted, said.holder) == (False, a)
    assert said.why == f"another node of this site is being wiped: {a}"
    await store.aclose()
    again = await reopen()
    try:
        site.store = again
        assert (await site.ask(b, second)).holder == a
        assert (await site.ask(a, first)).granted
        found = await again.read(lambda tx: site_view(tx, SITE))
        assert found is not None and found.wipe_grant is not None
        assert (found.wipe_grant.node, found.wipe_grant.command_id) == (a, first)
        lines = [(one.actor, one.target, one.outcome) for one in await site.lines(*ACTIONS)]
        assert lines == [(a, SITE, "done"), (b, SITE, "refused")]
    finally:
        await again.aclose()


async def test_of_many_at_once_one_has_it(site: Site) -> None:
    ids = {node: await site.send(node) for node in site.nodes}
    answers = await asyncio.gather(*(site.ask(node, ids[node]) for _ in range(20) for node in site.nodes))
    assert len({one.holder for one in answers}) == 1
    assert sum(one.granted for one in answers) == 20
    assert len([one for one in await site.lines("wipe grant") if one.outcome == "done"]) == 1


@pytest.mark.parametrize("outcome", ["done", "failed", "refused"])
async def test_the_answer_to_its_command_gives_it_back(site: Site, clock: Clock, outcome: str) -> None:
    a, b, _ = site.nodes
    first, other, second = await site.send(a), await site.send(a, Verb.SYNC, ()), await site.send(b)
    await site.ask(a, first)
    await site.answer(a, other)
    await site.answer(b, first, outcome)  # another node's word of it
    assert not (await site.ask(b, second)).granted
    await site.answer(a, first, outcome)
    clock.ms += 1000
    await site.ready(a)
    assert (await site.ask(b, second)).granted
    lines = [(one.actor, one.action, one.detail) for one in await site.lines("wipe grant back")]
    assert lines == [(a, "wipe grant back", f"{first} ended: {outcome}")]


async def test_an_operator_gives_back_what_nobody_else_will(site: Site, store: Store) -> None:
    a, b, _ = site.nodes
    first, second = await site.send(a), await site.send(b)
    await site.ask(a, first)
    assert await store.write(lambda tx: wipe_grants.release(tx, SITE, "op:a"))
    assert not await store.write(lambda tx: wipe_grants.release(tx, SITE, "op:a"))
    assert (await site.ask(b, second)).granted
    await site.answer(a, first)  # late, and no longer its own
    assert (await site.ask(a, first)).holder == b
    lines = [(one.actor, one.target, one.outcome) for one in await site.lines("wipe grant release")]
    assert lines == [("op:a", SITE, "done"), ("op:a", SITE, "nothing to do")]


async def test_sites_do_not_wait_for_each_other(site: Site, store: Store, clock: Clock) -> None:
    other = await Site(store, clock, "store-2").begin()
    other._commands = 100
    assert (await site.ask(site.nodes[0], await site.send(site.nodes[0]))).granted
    assert (await other.ask(other.nodes[0], await other.send(other.nodes[0]))).granted


async def test_a_command_that_is_not_one_of_this_endpoints_for_this_node_is_refused(
    site: Site, store: Store, clock: Clock
) -> None:
    a, b, _ = site.nodes
    other = await Site(store, clock, "store-2").begin(1)
    other._commands = 100
    elsewhere = await other.send(other.nodes[0])
    answered = await site.send(a)
    await site.answer(a, answered, "failed")
    for command, why in [
        ("f" * 32, "no such command"),
        (await site.send(b), "no such command"),
        (elsewhere, "no such command"),
        (await site.send(a, Verb.REBOOT, ()), "reboot erases nothing"),
        (await site.send(a, Verb.REJOIN, ()), "rejoin erases nothing"),
        (answered, "answered already: failed"),
    ]:
        said = await site.ask(a, command)
        assert (said.granted, said.holder) == (False, "") and why in said.why
    assert (await site.ask(a, await site.send(a, Verb.RETIRE, ("ident",)))).granted


async def test_a_device_that_is_revoked_or_of_another_site_gets_no_answer(site: Site, store: Store) -> None:
    a = site.nodes[0]
    command = await site.send(a)
    with pytest.raises(Rejected, match="not enrolled"):
        await store.write(lambda tx: wipe_grants.ask(tx, a, "store-2", command, interval=INTERVAL))
    await store.write(lambda tx: sites.revoke(tx, a))
    with pytest.raises(Rejected, match="not enrolled"):
        await site.ask(a, command)


async def test_a_silent_server_is_the_quorums_end(site: Site, clock: Clock) -> None:
    a, b, c = site.nodes
    command = await site.send(a)
    clock.ms += 65_000
    await site.beat(a, b)
    said = await site.ask(a, command)
    assert (said.granted, said.holder) == (False, "")
    assert said.why.startswith("it would cost the cluster its quorum: of 3 server(s) 2 must be up") and "n3" in said.why
    await site.beat(c)
    assert (await site.ask(a, command)).granted


async def test_a_signed_rebuild_asks_for_no_quorum_and_still_goes_one_by_one(site: Site, clock: Clock) -> None:
    a, b, _ = site.nodes
    clock.ms += 3_600_000
    first = await site.send(a, Verb.WIPE, ("var",), rebuild="yes")
    second = await site.send(b, Verb.WIPE, ("var",), rebuild="yes")
    assert (await site.ask(a, first)).granted
    assert (await site.ask(b, second)).holder == a
    assert "rebuild" in (await site.lines("wipe grant"))[0].detail


async def test_the_next_waits_until_the_one_before_is_a_member_again(site: Site, clock: Clock) -> None:
    """The answer is given after the boot, long before the node has joined anew: what was heard of it is of before."""
    a, b, _ = site.nodes
    first, second = await site.send(a), await site.send(b)
    await site.ask(a, first)
    clock.ms += 30_000
    await site.answer(a, first)
    await site.beat(*site.nodes)
    assert "n1 was wiped, and has not said since that it is ready" in (await site.ask(b, second)).why
    clock.ms += 10_000
    await site.state(a, NodeState.FORMING)
    assert "n1 is forming" in (await site.ask(b, second)).why
    clock.ms += 10_000
    await site.state(a, NodeState.READY)
    assert (await site.ask(b, second)).granted


async def test_an_answer_that_comes_behind_a_newer_state_holds_nobody_up(site: Site, clock: Clock) -> None:
    """Outboxes may send the newest first."""
    a, b, _ = site.nodes
    first, second = await site.send(a), await site.send(b)
    await site.ask(a, first)
    clock.ms += 30_000
    await site.state(a, NodeState.READY, t=clock.ms)
    await site.beat(*site.nodes)
    clock.ms += 1000
    await site.answer(a, first, t=clock.ms - 20_000)
    assert (await site.ask(b, second)).granted


async def test_a_node_that_ended_one_command_takes_the_grant_to_its_next(site: Site) -> None:
    a, b, _ = site.nodes
    first, second = await site.send(a), await site.send(a)
    await site.ask(a, first)
    assert (await site.ask(a, second)).granted
    await site.answer(a, first, "failed")
    assert (await site.ask(b, await site.send(b))).holder == a
    await site.answer(a, second, "failed")
    assert (await site.ask(b, await site.send(b))).granted


async def test_a_refusal_is_audited_once_for_each_reason(site: Site, clock: Clock) -> None:
    a, b, c = site.nodes
    first, second = await site.send(a), await site.send(b)
    await site.ask(a, first)
    for _ in range(5):
        await site.ask(b, second)
        await site.ask(c, "e" * 32)
    await site.answer(a, first, "refused")
    clock.ms += 65_000
    await site.ask(b, second)
    details = [(one.actor, one.detail) for one in await site.lines("wipe grant") if one.outcome == "refused"]
    assert [actor for actor, _ in details] == [b, c, b]
    assert "another node" in details[0][1] and "no such command" in details[1][1] and "quorum" in details[2][1]


async def test_a_nodes_answer_is_audited_and_one_to_a_command_nobody_sent_is_an_alert(site: Site, store: Store) -> None:
    a, b, _ = site.nodes
    command = await site.send(a)
    for _ in range(2):
        await site.answer(a, command, "refused")
    await site.answer(b, "d" * 32, "done")
    lines = [(one.actor, one.target, one.outcome) for one in await site.lines("answer wipe")]
    assert lines == [(a, a, "refused")]
    found = await store.read(lambda tx: audit.alerts(tx, site=SITE))
    assert [(one.node, one.code, one.severity) for one in found] == [(b, "command-unknown", "critical")]
    assert "d" * 32 in found[0].text and "not sent by this endpoint" in found[0].text
