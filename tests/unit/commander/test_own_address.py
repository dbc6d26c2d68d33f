"""This node's own address: the roster's, else the one towards its siblings; a changed one is a person's matter."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.contracts.identity import Member
from agents.contracts.ids import node_id
from agents.contracts.siblings import FormationStatus, Stage
from edge_commander.formation import own_address
from edge_commander.formation.own_address import OwnAddress, is_here, towards
from edge_commander.formation.site import Site
from edge_commander.reasons import Why

A, B = node_id("nuc-a"), node_id("nuc-b")


def site(own: str, other: str = "", epoch: int = 1) -> Site:
    roster = (Member(node=A, name="nuc-a", address=own), Member(node=B, name="nuc-b", address=other))
    return Site(site="store-01234", me=A, epoch=epoch, roster=roster)


def status(stage: Stage) -> FormationStatus:
    return FormationStatus(node=A, epoch=1, stage=stage)


class Routes:
    """The machine: which addresses it has, and from which it reaches what."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.here = {"10.0.0.1"}
        self.ways = {"10.0.0.2": "10.0.0.1", own_address.ANYWHERE: "192.168.9.9"}
        monkeypatch.setattr(own_address, "is_here", lambda address: address in self.here)
        monkeypatch.setattr(
            own_address, "towards", lambda targets: next((self.ways[one] for one in targets if one in self.ways), "")
        )


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> Routes:
    return Routes(monkeypatch)


def test_the_rosters_word_stands_where_it_is_true(tmp_path: Path, routes: Routes) -> None:
    given = site("10.0.0.1")
    assert OwnAddress(tmp_path).fill(given, status(Stage.NONE), {}) == (given, None)


def test_an_address_that_is_another_now_waits_for_a_person(tmp_path: Path, routes: Routes) -> None:
    routes.here, routes.ways["10.0.0.1"] = {"10.0.0.7"}, "10.0.0.7"
    _, reason = OwnAddress(tmp_path).fill(site("10.0.0.1"), status(Stage.MEMBER), {})
    assert reason is not None and reason.why is Why.ADDRESS
    assert reason.text == "waiting: a person (address changed): the roster says 10.0.0.1, this node has 10.0.0.7"


def test_a_node_that_has_no_network_yet_is_not_said_to_have_moved(tmp_path: Path, routes: Routes) -> None:
    routes.here, routes.ways = set(), {}
    assert OwnAddress(tmp_path).fill(site("10.0.0.1"), status(Stage.MEMBER), {})[1] is None


def test_an_address_with_a_port_is_left_alone(tmp_path: Path, routes: Routes) -> None:
    routes.here = set()
    given = site("10.0.0.1:9500")
    assert OwnAddress(tmp_path).fill(given, None, {}) == (given, None)


def test_where_the_roster_names_none_it_is_the_one_towards_a_sibling_that_proved_itself(
    tmp_path: Path, routes: Routes
) -> None:
    filled, reason = OwnAddress(tmp_path).fill(site(""), status(Stage.NONE), {B: "10.0.0.2"})
    assert (filled.own.address, reason) == ("10.0.0.1", None) and filled.others[B].address == ""


def test_else_towards_a_siblings_address_in_the_roster_else_by_the_default_route(
    tmp_path: Path, routes: Routes
) -> None:
    assert OwnAddress(tmp_path).fill(site("", "10.0.0.2:9500"), None, {})[0].own.address == "10.0.0.1"
    assert OwnAddress(tmp_path).fill(site("", "nonsense"), None, {})[0].own.address == "192.168.9.9"
    routes.ways = {}
    assert OwnAddress(tmp_path).fill(site(""), None, {})[0].own.address == ""


def test_a_cluster_that_was_begun_is_held_to_its_address_across_restarts(tmp_path: Path, routes: Routes) -> None:
    reached = {B: "10.0.0.2"}
    OwnAddress(tmp_path).fill(site(""), status(Stage.DECIDED), reached)
    routes.here, routes.ways = {"10.0.0.7"}, {"10.0.0.2": "10.0.0.7", "10.0.0.1": "10.0.0.7"}
    again = OwnAddress(tmp_path)
    filled, reason = again.fill(site(""), status(Stage.STARTED), reached)
    assert filled.own.address == "10.0.0.1" and reason is not None
    assert reason.detail == "the cluster was begun at 10.0.0.1, this node has 10.0.0.7"
    # What was not begun is not held to anything.
    filled, reason = again.fill(site(""), status(Stage.DECIDED), reached)
    assert (filled.own.address, reason) == ("10.0.0.7", None)


def test_another_epochs_address_binds_nobody(tmp_path: Path, routes: Routes) -> None:
    OwnAddress(tmp_path).fill(site(""), status(Stage.DECIDED), {B: "10.0.0.2"})
    routes.ways = {"10.0.0.2": "10.0.0.7"}
    filled, reason = OwnAddress(tmp_path).fill(site("", epoch=2), status(Stage.STARTED), {B: "10.0.0.2"})
    assert (filled.own.address, reason) == ("10.0.0.7", None)


def test_the_kernel_is_asked_and_nothing_is_sent() -> None:
    assert is_here("127.0.0.1") and not is_here("192.0.2.77")
    assert towards(["127.0.0.9"]) == "127.0.0.1"
    assert towards([]) == ""


def test_a_workers_own_is_filled_in_as_a_servers_is(tmp_path: Path, routes: Routes) -> None:
    server, worker = site("").roster[1], Member(node=A, name="nuc-a")
    given = Site(site="store-01234", me=A, epoch=1, roster=(server,), workers=(worker,))
    filled, reason = OwnAddress(tmp_path).fill(given, status(Stage.NONE), {B: "10.0.0.2"})
    assert (filled.own.address, reason) == ("10.0.0.1", None) and filled.roster == (server,)
