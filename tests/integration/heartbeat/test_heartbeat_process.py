"""Heartbeat as a real process: starts offline, beats on its grid, survives SIGKILL, hands over between unit and pod."""

import itertools
import json
import signal
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from agents.contracts.health import HealthBit, unpack
from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.process import Program

INTERVAL = 0.4
MACHINE = {
    "hardware_id": "SN-HEART-1",
    "serial": "SN-HEART-1",
    "boot_id": "0a1b2c3d-1111-4000-8000-000000000001",
    "hostname": "node-1",
    "hardware": "NUC",
}


class Node:
    """One node's heartbeat, in one or both forms, over one state directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.programs: list[Program] = []
        (folder / "machine.json").write_text(json.dumps(MACHINE))

    def start(self, mode: str = "unit") -> Program:
        config = {
            "v": 1,
            "node": {
                "machine": f"file:{self.folder}/machine.json",
                "state_dir": f"{self.folder}/state",
                "run_dir": f"{self.folder}/run",
            },
            "endpoint": {"urls": [f"http://127.0.0.1:{free_port()}"], "issuer": "https://cloud.test"},
            "heartbeat": {
                "interval_seconds": INTERVAL,
                "mode": mode,
                "health": {"bind": "127.0.0.1", "port": self.port},
            },
        }
        file = self.folder / f"{mode}.yaml"
        file.write_text(json.dumps(config))
        command = [sys.executable, "-m", "heartbeat", "--config", file]
        program = Program(f"heartbeat-{mode}", command, log=self.folder / f"{mode}.log")
        program.start()
        self.programs.append(program)
        return program

    def rows(self) -> list[tuple[str, int, dict]]:
        """Run, sequence number and body of all that is queued, in order."""
        database = self.folder / "state/heartbeat/outbox.db"
        if not database.exists():
            return []
        try:
            connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)
            found = connection.execute(
                "SELECT runs.run, seq, body FROM messages JOIN runs ON runs.id = messages.run ORDER BY runs.id, seq"
            ).fetchall()
            connection.close()
        except sqlite3.OperationalError:
            return []
        return [(run, seq, json.loads(body)) for run, seq, body in found]

    def beats(self, via: str = "") -> list[dict]:
        return [body for _, _, body in self.rows() if body["kind"] == "beat" and via in body["via"]]

    def wait(self, what, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            for program in self.programs:
                assert program.running or program.returncode in (0, -signal.SIGKILL), program.log_tail()
            assert time.monotonic() < deadline, "\n".join(program.log_tail() for program in self.programs)
            time.sleep(0.05)


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    yield node
    for program in node.programs:
        program.stop()


def test_an_offline_node_starts_and_queues_beats_and_facts(node):
    program = node.start()
    node.wait(lambda: len(node.beats()) >= 3)
    rows = node.rows()
    assert [seq for _, seq, _ in rows] == list(range(1, len(rows) + 1))
    assert len({run for run, _, _ in rows}) == 1
    facts = [body for _, _, body in rows if body["kind"] == "facts"]
    assert len(facts) == 1 and facts[0]["serial"] == "SN-HEART-1" and facts[0]["memory_total"] > 0
    assert any(disk["path"] == "/" and disk["total"] > 0 for disk in facts[0]["disks"])
    beat = node.beats()[-1]
    good, bad, unknown = unpack(beat["ok"])
    assert beat["boot"] == "0a1b2c3d" and beat["up"] > 0 and beat["wit"] == 0
    assert HealthBit.OUTBOX in good and HealthBit.COMMANDER in bad and HealthBit.UPLINK in bad
    assert HealthBit.KUBELET in unknown and HealthBit.LOCAL_API in unknown
    assert program.running


def test_beats_keep_their_distance(node):
    node.start()
    node.wait(lambda: len(node.beats()) >= 1)
    connection = sqlite3.connect(f"file:{node.folder}/state/heartbeat/outbox.db?mode=ro", uri=True)
    time.sleep(INTERVAL * 8)
    times = [t for (t,) in connection.execute("SELECT t FROM messages WHERE kind = 'beat' ORDER BY seq")]
    connection.close()
    assert len(times) >= 7
    mean = (times[-1] - times[0]) / (len(times) - 1)
    assert abs(mean - INTERVAL * 1000) < 60


def test_sigkill_at_any_moment_loses_nothing_queued(node):
    known: list[tuple[str, int, dict]] = []
    for round_number in range(5):
        program = node.start()
        wanted = len(known) + 2
        node.wait(lambda wanted=wanted: len(node.rows()) >= wanted)
        time.sleep(0.07 * round_number)
        program.kill()
        rows = node.rows()
        assert rows[: len(known)] == known
        known = rows
    assert [seq for _, seq, _ in known] == list(range(1, len(known) + 1))
    assert len({run for run, _, _ in known}) == 1


def test_the_unit_yields_to_the_pod_and_takes_over_when_it_dies(node):
    unit = node.start("unit")
    node.wait(lambda: len(node.beats("unit")) >= 2)
    pod = node.start("pod")
    node.wait(lambda: len(node.beats("pod")) >= 3)
    assert unit.running
    assert "the unit stands by" in unit.log.read_text()
    units = len(node.beats("unit"))
    pods = len(node.beats("pod"))
    node.wait(lambda: len(node.beats("pod")) >= pods + 3)
    assert len(node.beats("unit")) == units
    pod.kill()
    node.wait(lambda: len(node.beats("unit")) >= units + 2, seconds=10)
    rows = node.rows()
    assert [seq for _, seq, _ in rows] == list(range(1, len(rows) + 1))
    vias = [body["via"] for body in node.beats()]
    assert vias.index("pod") > 0 and vias[-1] == "unit"
    changes = sum(a != b for a, b in itertools.pairwise(vias))
    assert changes == 2


def test_a_pod_that_ends_in_order_is_followed_at_once(node):
    node.start("unit")
    pod = node.start("pod")
    node.wait(lambda: len(node.beats("pod")) >= 2)
    pod.stop()
    assert pod.returncode == 0
    assert not (node.folder / "state/heartbeat/pod.mark").exists()
    before = len(node.beats("unit"))
    node.wait(lambda: len(node.beats("unit")) > before, seconds=INTERVAL * 2 + 1)
