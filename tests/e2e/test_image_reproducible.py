"""The same bytes from another folder, on a machine of another name, at another time; and the root boots in nspawn."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.nuc.build import Built
from tests.site_in_a_box.host_suite import free_name
from tests.site_in_a_box.image_host import ImageHost, mounted_root

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(1500)


def test_the_same_bytes_elsewhere(image: Built, tmp_path: Path) -> None:
    """Everything anew but the downloads. The trees are made now, as apt judges signatures by the clock; the rest in
    forty days."""
    other = tmp_path / "elsewhere" / "cache"
    (other / "nuc").mkdir(parents=True)
    shutil.copytree(image.folder.parent / "debs", other / "nuc/debs")
    epoch = (image.folder / "epoch").read_text().strip()
    trees = "from images.nuc import build; build.toolbox(); build.base()"
    script = f'hostname elsewhere && "$1" -c "{trees}" && exec faketime -f +40d "$1" images/nuc/build.py'
    done = subprocess.run(
        ["unshare", "--uts", "sh", "-c", script, "build", sys.executable],
        env={**os.environ, "GALLEY_CACHE": str(other), "SOURCE_DATE_EPOCH": epoch, "TZ": "Asia/Tokyo"},
        cwd=ROOT, capture_output=True, text=True, timeout=1400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    made = Path(done.stdout.splitlines()[-1])
    for name in ("sha256", "sbom.json", "packages.txt", "sizes.json"):
        first, second = (image.folder / name).read_text(), (made / name).read_text()
        if name == "sizes.json":  # zstd's threads decide how it cuts
            continue
        assert first == second, name
    shutil.rmtree(other)


@pytest.fixture
def guest(image: Built, tmp_path: Path) -> Iterator[ImageHost]:
    """The image's root without any settings."""
    with mounted_root(image, tmp_path) as root:
        host = ImageHost(free_name("nuc"), tmp_path / "host", root, serial="GALLEY-BARE", options=["--private-network"])
        with host:
            yield host


def test_the_same_root_boots_in_nspawn_and_waits_for_settings(guest: ImageHost) -> None:
    assert not guest.run("systemctl", "--failed", "--no-legend", "--plain").strip()
    assert guest.property("galley.target", "ActiveState") == "active"
    assert guest.property("galley-edge-commander.service", "ConditionResult") == "no"
    assert guest.run("/opt/galley/bin/edge-commander", "--help").startswith("usage:")
    assert not guest.run("find", "/opt/galley/lib", "-newer", "/usr/lib/galley/image-build", "-name", "*.pyc").strip()
