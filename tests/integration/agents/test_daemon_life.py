"""A daemon's life as systemd sees it: exit status, signals, notifications, watchdog, health port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("little_daemon.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stage:
    """Plays systemd for one daemon at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = root / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.address))
        self.socket.settimeout(20)
        machine = {"hardware_id": "GX1", "serial": "GX1", "boot_id": "b1", "hostname": "h", "hardware": "NUC"}
        (root / "machine.json").write_text(json.dumps(machine))
        self.process: subprocess.Popen[str] | None = None
        self.log = ""

    def config(self, endpoint_ca_file: str = "", **own: Any) -> Path:
        path = self.root / "galley.yaml"
        document: dict[str, Any] = {
            "v": 1,
            "node": {
                "machine": f"file:{self.root}/machine.json", "state_dir": f"{self.root}/state",
                "run_dir": f"{self.root}/run",
            },
            "heartbeat": own,
        }  # fmt: skip
        if endpoint_ca_file:
            document["endpoint"] = {"urls": ["https://e.test"], "issuer": "https://e.test", "ca_file": endpoint_ca_file}
        path.write_text(json.dumps(document))
        return path

    def start(self, *arguments: str, watchdog: float | None = None, **own: Any) -> subprocess.Popen[str]:
        environ = {"PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": str(self.address), "PATH": os.environ["PATH"]}
        if watchdog is not None:
            environ["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), "--config", str(self.config(**own)), *arguments],
            env=environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self.root,
        )  # fmt: skip
        return self.process

    def until(self, word: str) -> list[str]:
        """Everything notified up to the first that starts with `word`."""
        seen: list[str] = []
        while not (seen and seen[-1].startswith(word)):
            seen.append(self.socket.recv(4096).decode())
        return seen

    def end(self, number: int | None = None, timeout: float = 30) -> int:
        assert self.process is not None
        if number is not None:
            self.process.send_signal(number)
        _, self.log = self.process.communicate(timeout=timeout)
        return self.process.returncode

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines()]

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate(timeout=10)
        self.socket.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def get(url: str) -> tuple[int, str, bytes]:
    """Status, content type and body; waits for the port to open."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read()
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens at {url}"
            time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ready_then_stopping_then_a_clean_end(stage: Stage, number: int) -> None:
    stage.start(behaviour="good")
    assert stage.until("READY=1")[0] == "STATUS=work: behaves good"
    assert (stage.root / "state/heartbeat").stat().st_mode & 0o777 == 0o700
    began = time.monotonic()
    assert stage.end(number) == 0
    assert time.monotonic() - began < 5
    assert stage.until("STOPPING=1")
    events = [line["event"] for line in stage.lines]
    assert events == ["ready", "stopping", "closed", "stopped"]
    assert all(line["daemon"] == "heartbeat" and line["node"].startswith("n-") for line in stage.lines)


def test_a_daemon_may_end_itself(stage: Stage) -> None:
    stage.start(behaviour="quits")
    assert stage.end() == 0


def test_every_configuration_error_on_a_line_of_its_own_and_78(stage: Stage) -> None:
    stage.start(behaviour=5, colour="red", health={"port": -1})
    assert stage.end() == 78
    file = stage.root / "galley.yaml"
    assert stage.log.splitlines() == [
        f"heartbeat: {file}:1: heartbeat.behaviour: expected `str`, got `int`",
        f"heartbeat: {file}:1: heartbeat.colour: unknown key",
        f"heartbeat: {file}:1: heartbeat.health.port: expected `int` >= 0",
    ]


def test_a_missing_file_is_named_and_78(stage: Stage) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--config", "/nonexistent/galley.yaml"],
        env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 78
    assert done.stderr == (
        "heartbeat: /nonexistent/galley.yaml: there is no such file: --config FILE must name the configuration\n"
    )


def test_check_config_says_so_and_starts_nothing(stage: Stage) -> None:
    stage.start("--check-config")
    assert stage.end() == 0 and not (stage.root / "state").exists()


@pytest.mark.parametrize("arguments", [["--check-config"], []])
def test_what_the_types_cannot_say_is_checked_before_anything_starts(stage: Stage, arguments: list[str]) -> None:
    stage.start(*arguments, behaviour="unchecked", endpoint_ca_file="/nonexistent/ca.pem")
    assert stage.end() == 78 and not (stage.root / "state").exists()
    assert stage.log.splitlines() == [
        "heartbeat: endpoint.ca_file: /nonexistent/ca.pem: cannot be read: No such file or directory",
        "heartbeat: heartbeat.bind: is not mine",
        "heartbeat: heartbeat.file: /none: cannot be read",
    ]


def test_build_may_refuse_the_configuration_or_the_state(stage: Stage) -> None:
    stage.start(behaviour="config")
    assert stage.end() == 78 and "heartbeat.behaviour: is not to my taste" in stage.log
    stage.start(behaviour="rejected")
    assert stage.end() == 1 and "the state is of a newer version" in stage.log and "Traceback" not in stage.log


@pytest.mark.parametrize(("behaviour", "cause"), [("bug", "ZeroDivisionError"), ("retryable", "Retryable")])
def test_what_escapes_a_loop_is_a_bug_with_its_traceback_and_1(stage: Stage, behaviour: str, cause: str) -> None:
    stage.start(behaviour=behaviour)
    assert stage.end() == 1
    crash = next(line for line in stage.lines if line["event"] == "crashed")
    assert cause in crash["exception"] and "little_daemon.py" in crash["exception"]
    assert any(line["event"] == "closed" for line in stage.lines)


@pytest.mark.parametrize("behaviour", ["clings", "blocks"])
def test_what_hangs_at_the_end_is_ended_all_the_same(stage: Stage, behaviour: str) -> None:
    stage.start(behaviour=behaviour)
    stage.until("READY=1")
    time.sleep(0.6)
    began = time.monotonic()
    assert stage.end(signal.SIGTERM, timeout=20) == 1
    assert 2.5 < time.monotonic() - began < 12
    assert "did not stop in time" in stage.log


def test_the_watchdog_is_fed_while_every_loop_meets_its_deadline(stage: Stage) -> None:
    stage.start(behaviour="good", watchdog=0.4)
    stage.until("READY=1")
    began = time.monotonic()
    for _ in range(6):
        stage.until("WATCHDOG=1")
    assert time.monotonic() - began < 10
    assert stage.end(signal.SIGTERM) == 0


def test_the_watchdog_starves_when_one_loop_is_late(stage: Stage) -> None:
    stage.start(behaviour="stuck", watchdog=0.4)
    stage.until("STATUS=loops: work late")
    stage.socket.settimeout(1.5)
    with pytest.raises(TimeoutError):
        stage.until("WATCHDOG=1")
    assert stage.end(signal.SIGTERM) == 0


def test_health_and_metrics(stage: Stage) -> None:
    port = free_port()
    stage.start(behaviour="good", health={"port": port})
    stage.until("READY=1")
    status, type_, body = get(f"http://127.0.0.1:{port}/healthz")
    document = json.loads(body)
    assert (status, document["status"]) == (200, "ok") and type_.startswith("application/json")
    assert document["components"]["work"]["text"] == "behaves good" and document["components"]["work"]["since"] > 0
    status, type_, body = get(f"http://127.0.0.1:{port}/metrics")
    assert status == 200 and type_ == "text/plain; version=0.0.4; charset=utf-8"
    assert b"galley_turns_total 1\n" in body and b'galley_component_ok{component="work"} 1\n' in body
    assert get(f"http://127.0.0.1:{port}/other")[0] == 404
    assert stage.end(signal.SIGTERM) == 0


def test_an_ill_component_makes_it_503(stage: Stage) -> None:
    port = free_port()
    stage.start(behaviour="ill", health={"port": port})
    stage.until("READY=1")
    status, _, body = get(f"http://127.0.0.1:{port}/healthz")
    assert status == 503 and json.loads(body)["status"] == "failing"


def test_a_taken_port_is_said_and_tried_again(stage: Stage) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stage.start(behaviour="good", health={"port": port})
        assert any(line == "READY=1" for line in stage.until("STATUS=health port"))
    assert get(f"http://127.0.0.1:{port}/healthz")[0] == 200
    assert stage.end(signal.SIGTERM) == 0
    assert "runs without its health port" in stage.log and "health port taken after all" in stage.log
