"""The fleet in memory: a reader who takes every frame, from whatever point, sees what a snapshot shows."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.contracts.messages import Phase
from cloud_endpoint.page.fleet_view import MAX_GONE, Extras, FleetView, Frame
from cloud_endpoint.page.liveness import judge
from cloud_endpoint.page.summary import ALERT_MS, AlertRow, AppRow, Beating, NodeRow, SiteRows

START = 1_000_000_000
STEADY = Beating(boot="1a2b3c4d", ok=1, via="unit")


def rows(
    site: str, *nodes: str, beat_ms: int | None = None, apps: int = 1, alerts: list[AlertRow] | None = None
) -> SiteRows:
    return SiteRows(
        site=site,
        labels={"region": "north"},
        nodes=[
            NodeRow(
                id=node,
                name=node,
                status="enrolled",
                beat_ms=beat_ms,
                beat=None if beat_ms is None else STEADY,
                interval=2.0,
                state="ready",
            )
            for node in nodes
        ],
        apps=[
            AppRow(app=f"app-{n}", phase=Phase.HEALTHY, revision="a" * 40, received_ms=START + n) for n in range(apps)
        ],
        steps=[],
        alerts=alerts or [],
    )


def view() -> FleetView:
    return FleetView(interval=15.0, started_ms=START)


def read(frame: Frame, only: str | None = None) -> Any:
    return json.loads(frame.encode(only))


def live(frame: Frame, site: str) -> list[str]:
    return [node["live"] for node in json.loads(frame.sites[site])["nodes"]]


def test_a_beat_alone_is_a_number_not_a_site() -> None:
    fleet = view()
    fleet.put(rows("store-1", "n-a", beat_ms=START), START)
    fleet.take(START)
    assert fleet.beats([("n-a", START + 2000, STEADY)], START + 2000) == set()
    frame = fleet.take(START + 2000)
    assert frame is not None
    assert (frame.sites, frame.beats) == ({}, {"n-a": ("store-1", START + 2000)})
    assert fleet.take(START + 2000) is None


def test_a_beat_that_says_something_new_changes_the_site() -> None:
    fleet = view()
    fleet.put(rows("store-1", "n-a", beat_ms=START), START)
    fleet.take(START)
    fleet.beats([("n-a", START + 2000, Beating(boot="1a2b3c4d", ok=1 << 16, via="unit"))], START + 2000)
    frame = fleet.take(START + 2000)
    assert frame is not None
    assert json.loads(frame.sites["store-1"])["nodes"][0]["bad"] == 1


def test_time_alone_makes_late_then_silent_and_a_beat_alive_again() -> None:
    fleet = view()
    fleet.put(rows("store-1", "n-a", beat_ms=START), START)
    fleet.take(START)
    seen = []
    for now in range(START, START + 20_000, 500):
        fleet.tick(now)
        if frame := fleet.take(now):
            seen.append((now - START, *live(frame, "store-1")))
    assert seen == [(4000, "late"), (13_000, "silent")]
    fleet.beats([("n-a", START + 20_000, STEADY)], START + 20_000)
    frame = fleet.take(START + 20_000)
    assert frame is not None
    assert live(frame, "store-1") == ["alive"]


def test_it_wakes_for_every_change_and_sleeps_between() -> None:
    fleet = view()
    fleet.put(rows("store-1", "n-a", beat_ms=START), START)
    fleet.take(START)
    assert fleet.due_ms() == START + 4000
    fleet.beats([("n-a", START + 3000, STEADY)], START + 3000)
    fleet.tick(START + 4000)
    assert fleet.due_ms() == START + 7000
    assert len(fleet._heap) == 1


def test_an_old_beat_never_replaces_a_newer_one() -> None:
    fleet = view()
    fleet.put(rows("store-1", "n-a", beat_ms=START), START)
    fleet.beats([("n-a", START + 5000, STEADY)], START + 5000)
    fleet.beats([("n-a", START + 1000, STEADY)], START + 5000)
    fleet.put(rows("store-1", "n-a", beat_ms=START + 1000), START + 5000)
    assert read(fleet.take(START + 5000) or fleet.snapshot(START))["beats"] == {"n-a": START + 5000}


def test_an_unknown_nodes_beat_is_handed_back() -> None:
    assert view().beats([("n-x", START, STEADY)], START) == {"n-x"}


def test_one_who_may_see_one_site_sees_that_one_alone() -> None:
    fleet = view()
    fleet.put(rows("store-1", "n-a", beat_ms=START), START)
    fleet.put(rows("store-2", "n-b", beat_ms=START), START)
    fleet.extras(Extras(waiting=3, alerts=2))
    frame = fleet.take(START)
    assert frame is not None
    seen = read(frame, "store-2")
    assert [site["site"] for site in seen["sites"]] == ["store-2"]
    assert (seen["beats"], seen["waiting"], seen["alerts"]) == ({"n-b": START}, 0, 0)
    assert read(frame)["waiting"] == 3
    assert frame.concerns("store-2")
    assert not frame.concerns("store-9")


def test_an_alert_leaves_the_count_after_a_day() -> None:
    fleet = view()
    fleet.put(rows("store-1", alerts=[AlertRow(severity="critical", last_ms=START)]), START)
    frame = fleet.take(START)
    assert frame is not None
    assert json.loads(frame.sites["store-1"])["alerts"] == [1, 0, 0]
    fleet.tick(START + ALERT_MS - 1)
    assert fleet.take(START + ALERT_MS - 1) is None
    fleet.tick(START + ALERT_MS + 60_000)
    frame = fleet.take(START + ALERT_MS + 60_000)
    assert frame is not None
    assert json.loads(frame.sites["store-1"])["alerts"] == [0, 0, 0]


def test_a_reader_who_was_away_too_long_must_start_anew() -> None:
    fleet = view()
    for n in range(MAX_GONE + 2):
        fleet.put(rows(f"store-{n}"), START)
        fleet.take(START)
        fleet.remove(f"store-{n}")
        fleet.take(START)
    assert fleet.since(1, START) is None
    assert fleet.since(fleet.version, START) is not None
    assert fleet.since(fleet.version + 1, START) is None


SITES = ["store-1", "store-2", "store-3"]
STEP = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(SITES), st.integers(0, 3)),
    st.tuples(st.just("beat"), st.sampled_from(SITES), st.integers(0, 2)),
    st.tuples(st.just("remove"), st.sampled_from(SITES), st.just(0)),
    st.tuples(st.just("wait"), st.just(""), st.integers(1, 9000)),
    st.tuples(st.just("take"), st.just(""), st.just(0)),
    st.tuples(st.just("lose"), st.just(""), st.just(0)),
)


class Reader:
    """What a browser holds."""

    def __init__(self) -> None:
        self.sites: dict[str, Any] = {}
        self.beats: dict[str, int] = {}
        self.version = 0

    def take(self, frame: Frame) -> None:
        change = read(frame)
        self.sites.update({site["site"]: site for site in change["sites"]})
        self.beats.update(change["beats"])
        for site in change["gone"]:
            del self.sites[site]
        self.version = frame.version


BRIEFLY_BACK = [("remove", "store-1", 0), ("put", "store-1", 0), ("remove", "store-1", 0)]


@settings(max_examples=80, deadline=None)
@example([("put", "store-1", 0), ("take", "", 0), *BRIEFLY_BACK])
@example([("put", "store-1", 0), ("take", "", 0), BRIEFLY_BACK[0], ("lose", "", 0), *BRIEFLY_BACK[1:]])
@given(st.lists(STEP, max_size=40))
def test_frames_and_resyncs_lead_to_the_snapshot(steps: list[tuple[str, str, int]]) -> None:
    fleet, steady, shaky, now = view(), Reader(), Reader(), START
    for what, site, number in [*steps, ("take", "", 0)]:
        nodes = [f"n-{site}-{n}" for n in range(3)]
        if what == "put":
            fleet.put(rows(site, *nodes[:number], beat_ms=now), now)
        elif what == "beat":
            fleet.beats([(nodes[number], now, STEADY)], now)
        elif what == "remove":
            fleet.remove(site)
        elif what == "wait":
            now += number
            fleet.tick(now)
        elif frame := fleet.take(now):
            steady.take(frame)
            if what == "take" and shaky.version == frame.version - 1:
                shaky.take(frame)  # otherwise it lost the line, and asks by its last version below
    missed = fleet.since(shaky.version, now)
    assert missed is not None
    for site in missed.gone:
        shaky.sites.setdefault(site, None)  # gone before this reader ever heard of it
    shaky.take(missed)
    whole = read(fleet.snapshot(now))
    assert steady.sites == shaky.sites == {site["site"]: site for site in whole["sites"]}
    shown = {node["id"]: node for site in whole["sites"] for node in site["nodes"]}
    for node, beat in whole["beats"].items():
        assert steady.beats[node] == shaky.beats[node] == beat
        assert shown[node]["live"] == judge(beat, 2.0, now, START).value
