"""The same bytes from another folder, on a machine of another name, at another time; and the root boots in nspawn."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.nuc.build import Built
from tests.site_in_a_box.host import Host
from tests.site_in_a_box.host_suite import free_name
from tests.site_in_a_box.image_elsewhere import build_elsewhere, differing

SEPARATE = ("var.mount", "var-lib-galley\\x2dident.mount", "var-lib-galley\\x2dkeep.mount")
"""Partitions, of which a container has none."""
pytestmark = pytest.mark.timeout(1500)


def test_the_same_bytes_elsewhere(image: Built, tmp_path: Path) -> None:
    """What packages alone make is shared here; `make soak` makes that anew too."""
    assert differing(image.folder, build_elsewhere(image, tmp_path, whole=False)) == []
    shutil.rmtree(tmp_path / "elsewhere")


@pytest.fixture
def guest(image: Built, tmp_path: Path) -> Iterator[Host]:
    """The image's root, mounted as it is, with an overlay for what a container writes."""
    lower = tmp_path / "lower"
    lower.mkdir()
    subprocess.run(["mount", "-t", "erofs", "-o", "loop,ro", str(image.root), str(lower)], check=True)
    host = Host(free_name("nuc"), tmp_path / "host", tree=lower, options=["--private-network"])
    try:
        for unit in SEPARATE:
            host.path(f"/etc/systemd/system/{unit}").symlink_to("/dev/null")
        with host:
            yield host
    finally:
        subprocess.run(["umount", str(lower)], check=True)


def test_the_same_root_boots_in_nspawn_and_waits_for_settings(guest: Host) -> None:
    assert not guest.run("systemctl", "--failed", "--no-legend", "--plain").strip()
    assert guest.property("galley.target", "ActiveState") == "active"
    assert guest.property("galley-edge-commander.service", "ConditionResult") == "no"
    assert guest.run("/opt/galley/bin/edge-commander", "--help").startswith("usage:")
    assert not guest.run("find", "/opt/galley/lib", "-newer", "/usr/lib/galley/image-build", "-name", "*.pyc").strip()
