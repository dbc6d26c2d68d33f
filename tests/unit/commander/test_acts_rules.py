"""When a node may be away, and when it may be rebooted by a command: the rules alone."""

from __future__ import annotations

import pytest

from edge_commander.acts.away import Seen, costs_quorum, why_not_away
from edge_commander.acts.reboot_rules import HOUR_MS, Last, RebootFacts, why_not
from edge_commander.acts.rejoin_plan import Drain, End, Forming, Leave, RejoinFacts, Take, Wait, next_step
from edge_commander.distribution.port import ClusterMember
from edge_commander.turns import Turns, busy, gone

ME, NOW = "nuc-1", 1_800_000_000_000


def site(ready: str, servers: int | None = None) -> list[ClusterMember]:
    """One member a letter: `y` Ready, `n` not; the first `servers` of them carry the control plane."""
    count = len(ready) if servers is None else servers
    return [ClusterMember(f"nuc-{i + 1}", one == "y", i < count) for i, one in enumerate(ready)]


@pytest.mark.parametrize(
    ("ready", "servers", "costs"),
    [
        ("yyy", 3, False),
        ("yyn", 3, True),
        ("yny", 3, True),
        ("nyy", 3, False),  # it is down itself
        ("nyn", 3, True),
        ("y", 1, False),  # one alone: it comes back with its node
        ("yy", 2, True),
        ("yyynn", 5, True),
        ("yyyyn", 5, False),
        ("yyn", 2, True),
        ("yyyn", 3, False),  # a worker that is down counts for nothing
    ],
)
def test_a_quorum_is_more_than_half_of_the_servers(ready: str, servers: int, costs: bool) -> None:
    assert bool(costs_quorum(ME, site(ready, servers))) == costs


def test_a_worker_costs_no_quorum() -> None:
    assert costs_quorum("nuc-4", site("ynny", 3)) == ""


def test_who_is_down_is_named() -> None:
    assert costs_quorum(ME, site("yyn")) == (
        "the cluster would lose its quorum: 2 of 3 servers are needed, and nuc-3 is not Ready"
    )


@pytest.mark.parametrize(
    ("turns", "text"),
    [
        (Turns(), ""),
        (Turns(joining="nuc-3"), "nuc-3 is joining"),
        (Turns(joining="nuc-9"), "nuc-9 is joining"),  # no member yet
        (Turns(joining="nuc-2"), ""),  # it has become a Ready member
        (Turns(joining=ME), ""),
        (Turns(upgrading="nuc-2"), "nuc-2 is upgraded"),
        (Turns(upgrading=ME), "this node is upgraded just now"),
        (Turns(upgrading="nuc-9"), ""),
        (Turns(renewing="nuc-2"), "nuc-2 renews its certificates just now"),
        (Turns(renewing=ME), "this node renews its certificates just now"),
        (Turns(renewing="nuc-3"), ""),  # not Ready: the quorum's rule counts it
        (Turns(leaving="nuc-2"), "nuc-2 is being wiped, or joins anew"),
        (Turns(leaving=ME), ""),
        (Turns(leaving="nuc-9"), "nuc-9 is being wiped, or joins anew"),  # it left, and is no member yet
    ],
)
def test_what_another_is_at(turns: Turns, text: str) -> None:
    assert busy(turns, ME, site("yyn")) == text


@pytest.mark.parametrize(
    ("holder", "names", "is_gone"),
    [
        ("nuc-2", ("nuc-1", "nuc-2"), False),
        ("nuc-9", ("nuc-1", "nuc-9"), False),  # wiped, or amid a rejoin: no member now
        ("nuc-3", ("nuc-1", "nuc-2"), False),  # of an older roster, and still a member
        ("nuc-9", ("nuc-1", "nuc-2"), True),  # retired
        ("", ("nuc-1", "nuc-2"), True),
    ],
)
def test_who_gives_a_turn_back_by_himself(holder: str, names: tuple[str, ...], is_gone: bool) -> None:
    assert gone(holder, names, site("yyn")) is is_gone


def test_what_is_under_way_comes_before_the_quorum() -> None:
    assert why_not_away(ME, Seen(site("yyn"), "nuc-2 is upgraded")) == "nuc-2 is upgraded"
    assert "quorum" in why_not_away(ME, Seen(site("yyn")))


def facts(last_ago: int | None = None, own_ago: int | None = None, **changed: object) -> RebootFacts:
    last = Last() if last_ago is None else Last("nuc-2", NOW - last_ago, "f" * 32, "boot")
    own = 0 if own_ago is None else NOW - own_ago
    fields = {"me": ME, "command": "a" * 32, "now_ms": NOW, "last": last, "own_ms": own, "seen": Seen(site("yyy"))}
    return RebootFacts(**{**fields, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("last_ago", "own_ago", "refused"),
    [
        (None, None, False),
        (HOUR_MS, None, False),
        (HOUR_MS - 1, None, True),
        (0, None, True),
        (None, HOUR_MS - 1, True),
        (None, HOUR_MS, False),
        (-HOUR_MS + 1, None, True),  # a clock that was put back a little
        (-HOUR_MS, None, False),  # one that was wrong by more says nothing
    ],
)
def test_a_site_is_given_one_reboot_an_hour(last_ago: int | None, own_ago: int | None, refused: bool) -> None:
    assert bool(why_not(facts(last_ago, own_ago))) == refused


def test_the_hour_is_told_with_who_and_when() -> None:
    assert why_not(facts(120_000)) == "nuc-2 was rebooted 2 min ago, and a site is given one reboot an hour"
    assert why_not(facts(None, 60_000)).startswith("nuc-1 was rebooted 1 min ago")


def test_the_quorum_is_spared_and_where_nothing_answers_the_own_record_counts_alone() -> None:
    assert "quorum" in why_not(facts(seen=Seen(site("yyn"))))
    assert why_not(facts(seen=None)) == ""
    assert why_not(facts(None, 1000, seen=None))


def rejoin(**changed: object) -> RejoinFacts:
    return RejoinFacts(**{"me": ME, "seen": Seen(site("yyy")), **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "step"),
    [
        ({}, Take()),
        ({"begun": True}, Drain()),
        ({"begun": True, "drained": True}, Leave()),
        ({"begun": True, "seen": None}, Wait()),
        ({"begun": True, "leaving": True, "seen": None}, Wait()),
        ({"begun": True, "leaving": True, "seen": Seen(site("yyn"))}, Wait()),  # no way back: nothing is judged
        ({"begun": True, "left": True, "member": False}, Forming()),
        ({"begun": True, "left": True, "member": False, "ready": False, "seen": None}, Wait()),
        ({"begun": True, "left": True, "seen": Seen(site("nyy"))}, Wait()),
    ],
)
def test_the_next_step_of_a_rejoin(changed: dict[str, object], step: object) -> None:
    assert next_step(rejoin(**changed)) == step


def test_a_rejoin_that_has_had_its_time_is_answered_at_every_stage() -> None:
    for stage in (
        {"begun": True, "seen": None},
        {"begun": True, "leaving": True, "seen": None},
        {"begun": True, "left": True, "member": False, "ready": False},
    ):
        step = next_step(rejoin(over=True, **stage))
        assert isinstance(step, End) and not step.done
