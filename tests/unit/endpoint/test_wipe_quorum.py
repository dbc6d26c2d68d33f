"""What a wipe would cost a site's cluster, by what the endpoint last heard: every combination of its servers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from agents.contracts.messages import NodeState
from cloud_endpoint.records import NodeRecord
from cloud_endpoint.rules.wipe_quorum import lost, quorum, trouble

NOW, INTERVAL = 1_700_000_000_000, 15.0
SILENT_MS = 65_000  # four beats of 15 s, and 5 s of grace
NAMES = "abcdefg"


def server(name: str, *, up: bool = True, **changed: Any) -> NodeRecord:
    values: dict[str, Any] = {
        "node": f"n-{name * 16}", "site": "store-1", "name": name, "address": "", "status": "enrolled",
        "beat_ms": NOW - 1000 if up else NOW - SILENT_MS, "state": {"kind": "state", "state": "ready"}, "state_ms": NOW,
    }  # fmt: skip
    return NodeRecord(**{**values, **changed})


def ask(servers: list[NodeRecord], node: str = "n-" + "a" * 16, before: frozenset[str] = frozenset()) -> str:
    return lost(node, servers, now_ms=NOW, interval=INTERVAL, before=before)


@pytest.mark.parametrize(("count", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)])
def test_every_set_of_servers_that_are_down(count: int, needed: int) -> None:
    assert quorum(count) == needed
    for ups in itertools.product([True, False], repeat=count - 1):
        others = [server(name, up=up) for name, up in zip(NAMES[1:], ups, strict=False)]
        for own in (True, False):  # whether the one that is to be wiped is up makes no difference
            why = ask([server("a", up=own), *others])
            assert (why == "") is (sum(ups) >= needed), why
            if why:
                assert f"of {count} server(s) {needed} must be up, and without this node {sum(ups)} would be" in why
                down = [name for name, up in zip(NAMES[1:], ups, strict=False) if not up]
                assert all(f"{name} is silent" in why for name in down)


def test_the_only_server_of_a_site_is_its_quorum() -> None:
    assert "of 1 server(s) 1 must be up, and without this node 0 would be" in ask([server("a")])


def test_a_worker_is_no_member_and_costs_nothing() -> None:
    assert ask([server("b", up=False), server("c", up=False), server("d")]) == ""


@pytest.mark.parametrize("state", list(NodeState))
def test_only_who_is_ready_is_a_member(state: NodeState) -> None:
    servers = [server("a"), server("b"), server("c", state={"state": state.value})]
    why = ask(servers)
    assert (why == "") is (state is NodeState.READY)
    assert why == "" or f"c is {state.value}" in why


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"beat_ms": None}, "was never heard"),
        ({"beat_ms": NOW - SILENT_MS}, "is silent"),
        ({"beat_ms": NOW - SILENT_MS + 1}, ""),  # late, and not silent yet
        ({"beat_ms": NOW - 8999, "facts": {"interval": 1}}, ""),
        ({"beat_ms": NOW - 9000, "facts": {"interval": 1}}, "is silent"),
        ({"beat_ms": NOW - SILENT_MS, "facts": {"interval": 60}}, ""),
        ({"beat_ms": NOW - SILENT_MS, "facts": {"interval": "60"}}, "is silent"),
        ({"state": None}, "is in a state not known"),
        ({"state": {"state": 7}}, "is 7"),
        ({}, ""),
    ],
)
def test_what_the_endpoint_heard_of_a_node(changed: dict[str, Any], words: str) -> None:
    assert trouble(server("b", **changed), NOW, INTERVAL, before=False) == words


def test_who_was_wiped_and_has_not_said_since_that_it_is_ready_does_not_count() -> None:
    servers = [server("a"), server("b"), server("c")]
    assert "c was wiped, and has not said since" in ask(servers, before=frozenset({"n-" + "c" * 16}))
    assert ask(servers, before=frozenset({"n-" + "a" * 16})) == ""
