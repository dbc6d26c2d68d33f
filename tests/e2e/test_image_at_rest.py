"""The image's root in nspawn with settings: what its daemons need at rest, what a boot waits for, what units may do.

A boot's time against a bare image's, emulated, is `make bench ARGS=bench_image`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from images.nuc.build import Built
from tests.site_in_a_box.host_suite import SuiteHost, free_name
from tests.site_in_a_box.image_host import mounted_root
from tests.site_in_a_box.nuc_shop import SCENARIO

DAEMONS = ("edge-commander", "heartbeat", "vessel", "synthetic-client", "discovery")
NOWHERE = "https://127.0.0.1:1"
SETTINGS = {
    "v": 1,
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
def node(image: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuiteHost]:
    """A box with the image and settings, alone in its network."""
    folder = tmp_path_factory.mktemp("rest")
    with mounted_root(image, folder) as root:
        host = SuiteHost(
            free_name("rest"), folder / "host", root, serial="GALLEY-REST-0001", options=["--private-network"]
        )
        host.put(yaml.safe_dump(SETTINGS), {"scenario.yaml": yaml.safe_dump(SCENARIO)})
        with host:
            yield host


def test_every_unit_of_a_node_is_started(node: SuiteHost) -> None:
    assert not node.run("systemctl", "--failed", "--no-legend", "--plain").strip()
    for unit in DAEMONS:
        assert node.property(f"galley-{unit}.service", "ActiveState") == "active", unit


def test_nothing_of_galley_is_on_the_way_to_multi_user(node: SuiteHost) -> None:
    chain = node.run("systemd-analyze", "critical-chain", "--no-pager", "multi-user.target")
    assert "multi-user.target" in chain and "basic.target" in chain, chain
    assert [line for line in chain.splitlines() if "galley-" in line or "containerd" in line] == [], chain


def test_the_daemons_are_small_at_rest(node: SuiteHost) -> None:
    """PSS in all, MB (10^6 bytes)."""
    time.sleep(REST_SECONDS)
    found = {}
    for unit in DAEMONS:
        pid = node.property(f"galley-{unit}.service", "MainPID")
        rollup = node.run("cat", f"/proc/{pid}/smaps_rollup")
        found[unit] = int(re.findall(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[0]) * 1024 / 1e6
    assert sum(found.values()) <= AT_REST_MB, found


def test_every_unit_of_galley_is_confined(node: SuiteHost) -> None:
    """systemd's own score, of 10; nothing has more than the table allows."""
    listed = node.run("sh", "-c", "ls /usr/lib/systemd/system/galley-*.service")
    units = [Path(line).name.replace("@.service", "@one.service") for line in listed.split()]
    assert len(units) > 10
    said = node.run("sh", "-c", "for u; do systemd-analyze security --no-pager $u | tail -n 1; done", "sh", *units)
    scores = {name.replace("@one", "@"): float(score) for name, score in re.findall(r"level for (\S+): ([\d.]+)", said)}
    assert len(scores) == len(units), said
    assert {unit: score for unit, score in scores.items() if score > EXCEPTIONS.get(unit, EXPOSURE)} == {}
    assert [unit for unit, score in EXCEPTIONS.items() if scores.get(unit, 0.0) < score] == []
