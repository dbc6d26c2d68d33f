"""Pulse, health, metrics, notifier, machine, backoff: the small parts of a daemon's life, in virtual time."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest

from agents.core.backoff import Backoff
from agents.core.errors import Rejected, Retryable
from agents.io.http import failure, problem_text, retry_after
from agents.io.machine import FileMachine, HostMachine, is_identity, open_machine
from agents.io.notify import NullNotifier, notifier, watchdog_seconds
from agents.supervise.context import PATIENCE, STARTING, Loop
from agents.supervise.health import Health
from agents.supervise.metrics import Metrics
from agents.supervise.pulse import FIRST, GRACE, Pulse
from tests.fakes.clock import VirtualClock


def pulse() -> tuple[Pulse, VirtualClock, asyncio.Event]:
    clock, stopping = VirtualClock(), asyncio.Event()
    return Pulse("x", clock, stopping), clock, stopping


async def test_a_loop_that_never_calls_is_overdue_after_a_minute() -> None:
    one, clock, _ = pulse()
    await clock.advance(FIRST)
    assert one.overdue() <= 0
    await clock.advance(1)
    assert one.overdue() == 1


async def test_each_call_moves_the_loops_own_deadline() -> None:
    one, clock, _ = pulse()
    one.expect(5)
    await clock.advance(6)
    assert one.overdue() == 1
    one.expect(5)
    assert one.overdue() == -5
    one.done()
    await clock.advance(1000)
    assert one.overdue() == 0


async def test_sleep_lasts_in_clock_time_and_allows_for_the_work_after_it() -> None:
    one, clock, _ = pulse()
    sleeping = asyncio.ensure_future(one.sleep(100))
    await clock.advance(99)
    assert not sleeping.done() and one.overdue() < 0
    await clock.advance(1)
    assert sleeping.done()
    await clock.advance(GRACE + 1)
    assert one.overdue() == 1


async def test_sleep_ends_early_once_when_stopping_and_never_spins() -> None:
    one, clock, stopping = pulse()
    first = asyncio.ensure_future(one.sleep(100))
    await clock.settle()
    stopping.set()
    await clock.settle()
    assert first.done() and one.stopping
    second = asyncio.ensure_future(one.sleep(100))
    await clock.settle()
    assert not second.done()
    await clock.advance(100)
    assert second.done()


async def test_wait_ends_with_the_event_with_time_or_with_the_daemon() -> None:
    one, clock, stopping = pulse()
    event = asyncio.Event()
    waiting = asyncio.ensure_future(one.wait(event, 10))
    await clock.advance(10)
    assert waiting.done() and await waiting is False
    waiting = asyncio.ensure_future(one.wait(event, 10))
    await clock.settle()
    event.set()
    assert await waiting is True
    assert await one.wait(event, 10) is True
    event.clear()
    waiting = asyncio.ensure_future(one.wait(event, 10))
    await clock.settle()
    stopping.set()
    assert await waiting is False


async def test_until_hands_on_the_error_of_what_it_waited_for() -> None:
    one, _, _ = pulse()

    async def fails() -> None:
        raise Retryable("no")

    with pytest.raises(Retryable):
        await one.until(fails(), 10)


async def test_a_cancelled_sleep_leaves_no_task() -> None:
    one, clock, _ = pulse()
    sleeping = asyncio.ensure_future(one.sleep(100))
    await clock.settle()
    sleeping.cancel()
    await clock.settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    ("patient", "uptime", "waits"), [(True, 20.0, PATIENCE), (True, STARTING, 0.0), (False, 20.0, 0.0)]
)
async def test_a_patient_loop_lets_a_machine_start_before_it_talks(patient: bool, uptime: float, waits: float) -> None:
    one, clock, stopping = pulse()
    began: list[float] = []

    async def run(pulse: Pulse) -> None:
        began.append(clock.monotonic())

    first = clock.monotonic()
    living = asyncio.ensure_future(Loop("x", run, patient).live(one, uptime))
    await clock.advance(max(0.0, waits - 0.1))
    assert bool(began) is (waits == 0)
    await clock.advance(0.2)
    await living
    assert began == [first + waits] and one.overdue() <= 0
    stopping.set()  # and at its end it waits for nothing
    await Loop("x", run, patient).live(one, uptime)


@pytest.mark.parametrize("patient", [True, False])
async def test_a_patient_loop_has_a_minute_for_its_first_turn_as_any(patient: bool) -> None:
    """Vessel prepares a cluster whose API server has just begun to answer, in its first turn."""
    one, clock, _ = pulse()

    async def run(pulse: Pulse) -> None:
        await clock.sleep(FIRST - 1)

    living = asyncio.ensure_future(Loop("x", run, patient).live(one, 20.0))
    await clock.advance(PATIENCE)
    await clock.advance(FIRST - PATIENCE - 2)
    assert one.overdue() <= 0
    await clock.advance(FIRST)
    await living


def test_health_says_who_fails_since_when_and_tells_of_changes() -> None:
    clock = VirtualClock()
    health = Health(clock)
    changes: list[str] = []
    health.changed = lambda: changes.append(health.line())
    assert health.ok and health.line() == "running"
    health.set("uplink", True, "all sent")
    health.set("uplink", True, "all sent")
    clock.now += 5
    health.set("atlas", False, "repository vanished")
    clock.now += 5
    health.set("atlas", False, "still gone")
    assert not health.ok
    assert changes == ["uplink: all sent", "atlas: repository vanished", "atlas: still gone"]
    document = health.document()
    assert document["status"] == "failing"
    assert document["components"]["atlas"]["since"] == document["components"]["uplink"]["since"] + 5000
    health.set("atlas", True, "ok")
    assert health.document()["status"] == "ok"


def test_metrics_are_prometheus_text_with_everything_escaped() -> None:
    metrics = Metrics()
    metrics.counter("galley_b_total", 'help\nwith \\ and "quotes"', app='a"\\\n', kind="<x>").inc(2)
    metrics.counter("galley_b_total", "", app='a"\\\n', kind="<x>").inc()
    metrics.gauge("galley_a", "first").set(1.5)
    histogram = metrics.histogram("galley_h", "h")
    for value in (0.001, 0.005, 0.2, 99):
        histogram.observe(value)
    lines = metrics.render().splitlines()
    assert lines[:3] == ["# HELP galley_a first", "# TYPE galley_a gauge", "galley_a 1.5"]
    assert lines[3] == '# HELP galley_b_total help\\nwith \\\\ and "quotes"'
    assert lines[5] == 'galley_b_total{app="a\\"\\\\\\n",kind="<x>"} 3'
    assert 'galley_h_bucket{le="0.005"} 2' in lines and 'galley_h_bucket{le="+Inf"} 4' in lines
    assert "galley_h_count 4" in lines and "galley_h_sum 99.206" in lines
    assert metrics.render().endswith("\n")


def test_metrics_refuse_bad_names_mixed_types_and_endless_series() -> None:
    metrics = Metrics()
    for bad in ("a-b", "1a", "", "a b"):
        with pytest.raises(ValueError, match="name"):
            metrics.counter(bad, "")
    with pytest.raises(ValueError, match="label"):
        metrics.counter("ok", "", **{"a-b": "x"})
    metrics.counter("one", "")
    with pytest.raises(ValueError, match="already"):
        metrics.gauge("one", "")
    with pytest.raises(ValueError, match="cannot fall"):
        metrics.counter("one", "").inc(-1)
    with pytest.raises(ValueError, match="series already"):
        for n in range(2000):
            metrics.gauge("many", "", n=str(n))
    metrics.forget("many", n="1")
    assert 'n="1"}' not in metrics.render()


def test_notifications_are_single_datagrams_and_a_status_one_line(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        one = notifier({"NOTIFY_SOCKET": address})
        one.ready()
        one.watchdog()
        one.status("a\nREADY=1\nb")
        one.status("a READY=1 b")
        one.stopping()
        assert [systemd.recv(1000) for _ in range(4)] == [
            b"READY=1",
            b"WATCHDOG=1",
            b"STATUS=a READY=1 b",
            b"STOPPING=1",
        ]
    one.watchdog()  # nobody listens any more: no error


def test_no_notifier_without_a_socket_and_the_watchdogs_interval() -> None:
    assert isinstance(notifier({}), NullNotifier) and isinstance(notifier({"NOTIFY_SOCKET": "bad"}), NullNotifier)
    assert watchdog_seconds({}) is None and watchdog_seconds({"WATCHDOG_USEC": "x"}) is None
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000"}) == 30.0
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None


def host(root: Path, **files: str) -> HostMachine:
    for name, text in {"proc/sys/kernel/random/boot_id": "boot-1\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return HostMachine(root, root / "machine.json")


def test_the_serial_is_the_identity_then_the_uuid_and_placeholders_are_none(tmp_path: Path) -> None:
    dmi = "sys/class/dmi/id/"
    one = host(
        tmp_path, **{dmi + "product_serial": " GX12 \n", dmi + "product_uuid": "u-1\n", dmi + "sys_vendor": "Maker\n"}
    )
    facts = one.facts()
    assert (facts.hardware_id, facts.serial, facts.boot_id, facts.hardware) == ("GX12", "GX12", "boot-1", "Maker")
    (tmp_path / dmi / "product_serial").write_text("To be filled by O.E.M.\n")
    assert one.facts().hardware_id == "u-1"


def test_a_machine_without_identity_is_rejected_with_what_was_tried(tmp_path: Path) -> None:
    one = host(tmp_path, **{"sys/class/dmi/id/product_serial": "Default string"})
    with pytest.raises(Rejected) as caught:
        one.facts()
    for part in ("product_serial (a placeholder)", "product_uuid (No such file", "machine.json"):
        assert part in str(caught.value)
    handed = {"hardware_id": "H1", "serial": "S", "boot_id": "b", "hostname": "h", "hardware": "m"}
    (tmp_path / "machine.json").write_text(json.dumps(handed))
    assert one.facts().hardware_id == "H1"


@pytest.mark.parametrize(
    "text", ["", " ", "None", "0", "00000000-0000-0000-0000-000000000000", "FFFFFFFF", "xxxxxxxxxx"]
)
def test_no_identity(text: str) -> None:
    assert not is_identity(text)


def test_a_file_machine_is_read_anew_and_its_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    one = open_machine(f"file:{path}")
    assert isinstance(one, FileMachine)
    for text, cause in [(None, "No such file"), ("{", "is not a machine"), ('{"hardware_id": 5}', "hardware_id")]:
        if text is not None:
            path.write_text(text)
        with pytest.raises(Rejected, match=cause) as caught:
            one.facts()
        assert str(path) in str(caught.value)
    for boot in ("b1", "b2"):
        path.write_text(
            json.dumps({"hardware_id": "H1", "serial": "", "boot_id": boot, "hostname": "", "hardware": ""})
        )
        assert one.facts().boot_id == boot
    with pytest.raises(Rejected, match=r"node\.machine"):
        open_machine("tape")


def test_backoff_doubles_with_jitter_to_its_cap_and_respects_retry_after() -> None:
    state = Backoff(base=1, cap=8)
    assert state.delay(max) == 0
    highs, lows = [], []
    for _ in range(6):
        state = state.failed()
        highs.append(state.delay(lambda a, b: b))
        lows.append(state.delay(lambda a, b: a))
    assert highs == [1, 2, 4, 8, 8, 8] and lows == [0.5, 1, 2, 4, 4, 4]
    assert state.delay(lambda a, b: b, 30) == 30 and state.delay(lambda a, b: b, 10**9) == 80
    assert state.succeeded().delay(max) == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({"Retry-After": "5"}, 5), ({"Retry-After": "-5"}, 0), ({"Retry-After": "soon"}, None), ({}, None),
        ({"Retry-After": "1e9"}, 3600), ({"Retry-After": "nan"}, None),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90),
    ],
)  # fmt: skip
def test_retry_after_in_both_its_forms(header: dict[str, str], seconds: float | None) -> None:
    assert retry_after(header, 10_000) == seconds


@pytest.mark.parametrize("status", [401, 408, 429, 500, 502, 503, 504])
def test_what_may_pass_by_itself(status: int) -> None:
    assert isinstance(failure("x", status, {}, b"", 0), Retryable)


@pytest.mark.parametrize("status", [302, 400, 403, 404, 409, 413, 422, 501])
def test_what_will_not(status: int) -> None:
    error = failure("x", status, {}, b'{"title": "No", "detail": "because"}', 0)
    assert isinstance(error, Rejected) and str(error) == f"x: HTTP {status} (No: because)"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"title": 5}', b"\xff", b"[" * 70_000])
def test_an_answer_that_is_no_problem_document_says_nothing(body: bytes) -> None:
    assert problem_text(body) == ""
