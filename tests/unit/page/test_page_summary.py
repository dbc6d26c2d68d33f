"""A site in a few words: counts, the order of misery, quantiles, words, and what leaves without credentials."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.contracts.health import HealthBit, pack
from agents.contracts.messages import Histogram, Phase
from cloud_endpoint.page.detail import app_detail, without_credentials
from cloud_endpoint.page.liveness import Liveness
from cloud_endpoint.page.quantiles import quantile
from cloud_endpoint.page.summary import (
    ALERT_MS,
    AlertRow,
    AppCounts,
    AppRow,
    NodeSummary,
    SiteRows,
    count_alerts,
    count_apps,
    rank,
    summarise,
)
from cloud_endpoint.page.words import WORDS, health_words
from tests.site_in_a_box.reports import deployment, problem

NOW = 10**12
FINE = AppCounts(total=3, good=3)


def node(
    live: Liveness = Liveness.ALIVE, *, status: str = "enrolled", state: str = "ready", bad: int = 0
) -> NodeSummary:
    return NodeSummary(id="n", name="nuc", status=status, live=live, state=state, bad=bad, interval=15.0)


def test_each_phase_is_counted_once() -> None:
    every = count_apps((phase.value, phase) for phase in Phase)
    assert (every.total, every.good, every.working, every.held, every.failed) == (len(Phase), 2, 3, 1, 3)


def test_the_whole_atlas_is_no_app_but_its_refusal_counts() -> None:
    assert count_apps([("*", Phase.HEALTHY), ("pos", Phase.HEALTHY)]) == AppCounts(total=1, good=1)
    assert count_apps([("*", Phase.REFUSED), ("pos", Phase.HEALTHY)]) == AppCounts(total=1, good=1, failed=1)
    assert count_apps([("*", Phase.DEGRADED), ("pos", Phase.DEGRADED)]) == AppCounts(total=1, failed=1)


def test_a_report_about_git_itself_does_not_hide_the_revision() -> None:
    apps = [
        AppRow(app="pos", phase=Phase.HEALTHY, revision="a" * 40, received_ms=1),
        AppRow(app="*", phase=Phase.REFUSED, revision="", received_ms=2),
    ]
    rows = SiteRows(site="store-1", labels={}, nodes=[], apps=apps, steps=[], alerts=[])
    seen = summarise(rows, {}, version=1, interval=15.0, now_ms=NOW)
    assert (seen.revision, seen.revision_ms) == ("a" * 40, 1)


def test_a_site_that_is_well_ranks_zero() -> None:
    assert rank([node(), node(), node()], FINE, 0, (0, 0, 3)) == 0


def test_misery_has_an_order() -> None:
    one_silent = [node(Liveness.SILENT), node(), node()]
    every_silent = [node(Liveness.SILENT)] * 3
    failed = AppCounts(total=3, good=2, failed=1)
    ladder = [
        rank(every_silent, FINE, 0, (0, 0, 0)),
        rank(one_silent, FINE, 0, (0, 0, 0)),
        rank([node()], failed, 0, (0, 0, 0)),
        rank([node()], FINE, 1, (0, 0, 0)),
        rank([node()], FINE, 0, (1, 0, 0)),
        rank([node(Liveness.LATE)], FINE, 0, (0, 0, 0)),
        rank([node()], FINE, 0, (0, 1, 0)),
        rank([node()], AppCounts(total=1, working=1), 0, (0, 0, 0)),
        rank([node()], FINE, 0, (0, 0, 0)),
    ]
    assert ladder == sorted(ladder, reverse=True)
    assert len(set(ladder)) == len(ladder)


@pytest.mark.parametrize("status", ["shipped", "revoked"])
def test_who_has_not_joined_or_may_not_report_is_not_missed(status: str) -> None:
    assert rank([node(), node(Liveness.SILENT, status=status)], FINE, 0, (0, 0, 0)) == 0


def test_alerts_count_for_a_day() -> None:
    alerts = [AlertRow(severity=name, last_ms=NOW - ALERT_MS + 1) for name in ("critical", "warning", "info", "info")]
    old = AlertRow(severity="critical", last_ms=NOW - ALERT_MS)
    assert count_alerts([*alerts, old], NOW) == (1, 1, 2)


def histogram(bounds: list[float], buckets: list[int], largest: float) -> Histogram:
    return Histogram(bounds=bounds, buckets=buckets, sum=1.0, count=sum(buckets), max=largest)


def test_quantiles_lie_within_their_bucket() -> None:
    found = histogram([0.1, 0.2, 0.4], [10, 80, 9, 1], 0.9)
    assert quantile(found, 0.5) == pytest.approx(0.15)
    assert 0.2 < (quantile(found, 0.95) or 0) < 0.4
    assert quantile(found, 1.0) == 0.9


@pytest.mark.parametrize(
    "bad", [histogram([0.1], [0, 0], 0.0), histogram([], [], 0.0), histogram([0.1, 0.2], [1], 0.1)]
)
def test_no_quantile_where_there_is_none(bad: Histogram) -> None:
    assert quantile(bad, 0.5) is None


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4), st.floats(0.001, 1.0), st.floats(0.5, 9.0))
def test_quantiles_rise_and_stay_below_the_largest(buckets: list[int], q: float, largest: float) -> None:
    found = histogram([0.1, 0.2, 0.4], buckets, largest)
    value = quantile(found, q)
    if sum(buckets) == 0:
        assert value is None
    else:
        assert value is not None
        assert 0 <= value <= largest
        assert value <= (quantile(found, 1.0) or 0) + 1e-9


def test_every_health_bit_has_words() -> None:
    assert set(WORDS) == set(HealthBit)
    every = [text for pair in WORDS.values() for text in pair]
    assert len(set(every)) == len(every)


def test_health_in_words() -> None:
    words = health_words(pack({HealthBit.DISK: True, HealthBit.CLOCK: False, HealthBit.TEMPERATURE: None}))
    assert words.good == ["Disks have room"]
    assert words.bad == ["The clock is not synchronised"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://bot:hunter2@git.example/atlas.git?token=x#y", "https://git.example/atlas.git"),
        ("ssh://git@git.example/atlas.git", "ssh://git.example/atlas.git"),
        ("file:///srv/atlas.git", "file:///srv/atlas.git"),
        ("https://[broken", ""),
    ],
)
def test_credentials_never_leave(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


def test_the_history_shows_some_problems_and_says_how_many_more() -> None:
    body = deployment("pos", "refused", problems=[problem(f"cause {n}", "a.yaml", n) for n in range(1, 8)])
    shown = app_detail(body, t=1, received_ms=2, node="nuc-1", most=3)
    assert [p.line for p in shown.problems] == [1, 2, 3]
    assert shown.more == 4
    assert app_detail(body, t=1, received_ms=2, node="nuc-1").more == 0
