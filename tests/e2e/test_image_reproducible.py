"""The same bytes from another folder, on a machine of another name, at another time; and the root boots in nspawn."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.nuc.build import Built
from tests.site_in_a_box import host_tree
from tests.site_in_a_box.host_suite import free_name
from tests.site_in_a_box.image_elsewhere import build_elsewhere, differing
from tests.site_in_a_box.image_host import ImageHost, mounted_root

pytestmark = pytest.mark.timeout(1500)


def test_the_same_bytes_elsewhere(image: Built, tmp_path: Path) -> None:
    """What packages alone make is shared here; `make soak` makes that anew too."""
    assert differing(image.folder, build_elsewhere(image, tmp_path, whole=False)) == []
    shutil.rmtree(tmp_path / "elsewhere")


def test_every_file_beside_the_image_is_summed_and_documented(image: Built) -> None:
    there = {file.name for file in image.folder.iterdir()}
    sums = {line.split()[1] for line in (image.folder / "sha256").read_text().splitlines()}
    assert there - sums == {"sha256", "sizes.json"}
    table = (host_tree.ROOT / "docs/image.md").read_text().split("| file | what |")[1].split("\n\n")[0]
    named = {name for row in table.splitlines() if row for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert named == there


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
