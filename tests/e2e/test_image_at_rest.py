"""The image's root in nspawn with settings: what its daemons need at rest, what a boot waits for, what units may do.

A boot's time against a bare image's, emulated, is `make bench ARGS=bench_image`.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from images.nuc.build import Built
from tests.site_in_a_box.host import Host
from tests.site_in_a_box.host_suite import free_name
from tests.site_in_a_box.nuc_shop import SCENARIO

SEPARATE = ("var.mount", "var-lib-galley\\x2dident.mount", "var-lib-galley\\x2dkeep.mount")
"""Partitions, of which a container has none."""
ELSEWHERE = "[Unit]\nConditionPathExists=/nowhere\n"
"""For what early boot has done before systemd, on a machine."""
DAEMONS = ("edge-commander", "heartbeat", "vessel", "synthetic-client", "discovery")
MACHINE = {
    "hardware_id": "GALLEY-REST-0001",
    "serial": "GALLEY-REST-0001",
    "boot_id": "3d4a1e1c-4b1f-4f6d-8a51-0d5d4f7f5a61",
    "hostname": "rest",
    "hardware": "Intel NUC (played by systemd-nspawn)",
}
NOWHERE = "https://127.0.0.1:1"
SETTINGS = {
    "v": 1,
    "node": {"machine": "file:/etc/galley/machine.json"},
    "endpoint": {"urls": [NOWHERE], "issuer": NOWHERE},
    "synthetic_client": {"scenario": "/etc/galley/scenario.yaml"},
}
AT_REST_MB = 250.0
REST_SECONDS = 10.0
EXPOSURE = 4.0
EXCEPTIONS: dict[str, float] = {}
"""Unit to its highest score where that is above EXPOSURE; the reason stands in the unit, beside what costs it."""
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def node(image: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The image's root with an overlay for what a container writes, and settings."""
    folder = tmp_path_factory.mktemp("rest")
    lower = folder / "lower"
    lower.mkdir()
    subprocess.run(["mount", "-t", "erofs", "-o", "loop,ro", str(image.root), str(lower)], check=True)
    # nspawn forbids what the hardware allows everyone: asking for the clock's state.
    allowed = [f"--system-call-filter={call}" for call in ("adjtimex", "clock_adjtime")]
    host = Host(free_name("rest"), folder / "host", tree=lower, options=["--private-network", *allowed])
    try:
        for unit in SEPARATE:
            host.path(f"/etc/systemd/system/{unit}").symlink_to("/dev/null")
        host.path("/etc/systemd/system/galley-overlay.service.d/elsewhere.conf").write_text(ELSEWHERE)
        for name, text in (("galley.yaml", yaml.safe_dump(SETTINGS)), ("scenario.yaml", yaml.safe_dump(SCENARIO)),
                           ("machine.json", json.dumps(MACHINE))):  # fmt: skip
            host.path(f"/etc/galley/{name}").write_text(text)
        with host:
            yield host
    finally:
        subprocess.run(["umount", str(lower)], check=True)


def test_every_unit_of_a_node_is_started(node: Host) -> None:
    assert not node.run("systemctl", "--failed", "--no-legend", "--plain").strip()
    for unit in DAEMONS:
        assert node.property(f"galley-{unit}.service", "ActiveState") == "active", unit


def test_nothing_of_galley_is_on_the_way_to_multi_user(node: Host) -> None:
    chain = node.run("systemd-analyze", "critical-chain", "--no-pager", "multi-user.target")
    assert "multi-user.target" in chain and "basic.target" in chain, chain
    assert [line for line in chain.splitlines() if "galley-" in line or "containerd" in line] == [], chain


def test_the_daemons_are_small_at_rest(node: Host) -> None:
    """PSS in all, MB (10^6 bytes)."""
    time.sleep(REST_SECONDS)
    found = {}
    for unit in DAEMONS:
        pid = node.property(f"galley-{unit}.service", "MainPID")
        rollup = node.run("cat", f"/proc/{pid}/smaps_rollup")
        found[unit] = int(re.findall(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[0]) * 1024 / 1e6
    assert sum(found.values()) <= AT_REST_MB, found


def test_every_unit_of_galley_is_confined(node: Host) -> None:
    """systemd's own score, of 10; nothing has more than the table allows."""
    listed = node.run("sh", "-c", "ls /usr/lib/systemd/system/galley-*.service")
    units = [Path(line).name.replace("@.service", "@one.service") for line in listed.split()]
    assert len(units) > 10
    said = node.run("sh", "-c", "for u; do systemd-analyze security --no-pager $u | tail -n 1; done", "sh", *units)
    scores = {name.replace("@one", "@"): float(score) for name, score in re.findall(r"level for (\S+): ([\d.]+)", said)}
    assert len(scores) == len(units), said
    assert {unit: score for unit, score in scores.items() if score > EXCEPTIONS.get(unit, EXPOSURE)} == {}
    assert [unit for unit, score in EXCEPTIONS.items() if scores.get(unit, 0.0) < score] == []
