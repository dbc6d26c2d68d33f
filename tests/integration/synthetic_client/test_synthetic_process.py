"""The synthetic client as a real process: starts offline, queues its reports, refuses a bad scenario."""

import json
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.process import Program

SCENARIO = """\
v: 1
scenario: offline
interval_seconds: 0.3
report_seconds: 1
steps:
  - {{name: web, type: http, url: "http://127.0.0.1:{port}/", timeout_seconds: 0.3}}
  - {{name: cloud, type: cloud, timeout_seconds: 0.3}}
  - {{name: bus, type: mqtt, host: 127.0.0.1, port: {port}, timeout_seconds: 0.3}}
"""


def configure(folder, scenario):
    machine = {"hardware_id": "SN-SYN-1", "serial": "SN-SYN-1", "boot_id": "b1", "hostname": "n", "hardware": "h"}
    (folder / "machine.json").write_text(json.dumps(machine))
    (folder / "scenario.yaml").write_text(scenario)
    config = {
        "v": 1,
        "node": {
            "machine": f"file:{folder}/machine.json",
            "state_dir": f"{folder}/state",
            "run_dir": f"{folder}/run",
        },
        "endpoint": {"urls": ["https://127.0.0.1:1"], "issuer": "https://cloud.test"},
        "synthetic_client": {"scenario": f"{folder}/scenario.yaml", "health": {"port": 0}},
    }
    (folder / "galley.yaml").write_text(json.dumps(config))
    return [sys.executable, "-m", "synthetic_client", "--config", str(folder / "galley.yaml")]


def reports(folder):
    database = folder / "state/synthetic-client/outbox.db"
    if not database.exists():
        return []
    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)
        found = connection.execute("SELECT body FROM messages WHERE kind = 'synthetic' ORDER BY seq").fetchall()
        connection.close()
    except sqlite3.OperationalError:
        return []
    return [json.loads(body) for (body,) in found]


def test_offline_it_starts_measures_and_queues_and_reports_the_rest_when_it_stops(tmp_path):
    command = configure(tmp_path, SCENARIO.format(port=free_port()))
    program = Program("synthetic-client", command, log=tmp_path / "log")
    program.start()
    try:
        program.wait_ready(lambda: len(reports(tmp_path)) >= 2, seconds=30, what="reporting")
        before = len(reports(tmp_path))
        time.sleep(0.5)
    finally:
        program.stop()
    assert program.returncode == 0, program.log_tail()
    found = reports(tmp_path)
    assert len(found) > before
    steps = {step["step"]: step for step in found[1]["steps"]}
    assert found[1]["scenario"] == "offline" and 0 < found[1]["seconds"] < 5
    assert steps["web"]["errors"] == {"connect": steps["web"]["failed"]} and steps["web"]["failed"] >= 1
    assert set(steps["cloud"]["errors"]) == set(steps["bus"]["errors"]) == {"waiting"}
    assert steps["web"]["latency"]["count"] == steps["web"]["ok"] == 0


@pytest.mark.parametrize(
    ("scenario", "line"),
    [
        ("v: 1\nsteps: 7\n", "scenario.yaml:2: steps: must be a list"),
        (
            SCENARIO.format(port=1) + "  - {name: web, type: cloud}\n",
            "scenario.yaml:9: steps[3].name: 'web' is the name",
        ),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--check-config"]])
def test_a_bad_scenario_is_a_configuration_error(tmp_path, scenario, line, flags):
    command = [*configure(tmp_path, scenario), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 78
    assert line in done.stderr and "synthetic_client.scenario: " in done.stderr
    assert reports(tmp_path) == []
