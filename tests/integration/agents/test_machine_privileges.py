"""How an unprivileged process learns what its hardware is called: real file modes, a real unprivileged user."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.core.errors import Rejected
from agents.io.machine import HANDED_NAME, HostMachine, hand_over

NOBODY = 65534


@pytest.fixture
def root() -> Iterator[Path]:
    """A file tree like /, whose DMI tables only their owner may read."""
    folder = Path(tempfile.mkdtemp(prefix="galley-machine-"))
    folder.chmod(0o755)
    dmi, random = folder / "sys/class/dmi/id", folder / "proc/sys/kernel/random"
    dmi.mkdir(parents=True)
    random.mkdir(parents=True)
    (random / "boot_id").write_text("6ff6b2a8-7b1f-4a5e-9f62-1f8f4a2c1d55\n")
    for name, text in (("product_serial", "G6BN2220"), ("product_uuid", "4c4c4544-0044"), ("board_serial", "BTBN2")):
        (dmi / name).write_text(text + "\n")
        (dmi / name).chmod(0o400)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def unprivileged(root: Path) -> Iterator[None]:
    """From here on the files belong to somebody else. Depends on `root`, which is made before."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
        yield
        os.seteuid(0)
        return
    for path in (root / "sys/class/dmi/id").iterdir():
        path.chmod(0)
    yield


def credentials(root: Path, **texts: str) -> Path:
    folder = root / "credentials"
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


def test_who_may_read_the_tables_reads_them(root: Path) -> None:
    facts = HostMachine(root).facts()
    assert (facts.hardware_id, facts.serial) == ("G6BN2220", "G6BN2220")


def test_credentials_name_the_hardware(root: Path, request: pytest.FixtureRequest) -> None:
    given = credentials(root, product_serial="G6BN2220\n", product_uuid="4c4c4544-0044", board_serial="BTBN2")
    request.getfixturevalue("unprivileged")
    assert HostMachine(root, credentials=given).facts().hardware_id == "G6BN2220"


def test_a_placeholder_gives_way_to_the_next_table_with_and_without_privilege(
    root: Path, request: pytest.FixtureRequest
) -> None:
    serial = root / "sys/class/dmi/id/product_serial"
    serial.chmod(0o600)
    serial.write_text("To Be Filled By O.E.M.\n")
    serial.chmod(0o400)
    given = credentials(root, product_serial="To Be Filled By O.E.M.", product_uuid="4c4c4544-0044", board_serial="B2")
    by_root = HostMachine(root).facts()
    request.getfixturevalue("unprivileged")
    assert HostMachine(root, credentials=given).facts() == by_root
    assert (by_root.hardware_id, by_root.serial) == ("4c4c4544-0044", "")


def test_a_table_that_may_not_be_read_never_gives_way_to_a_lower_one(
    root: Path, request: pytest.FixtureRequest
) -> None:
    """Else the node would have one name for root and another for its daemons."""
    (root / "sys/class/dmi/id/board_serial").chmod(0o444)
    request.getfixturevalue("unprivileged")
    with pytest.raises(Rejected, match="product_serial"):
        HostMachine(root).facts()


def test_pods_take_the_name_that_was_handed_over_but_the_boot_of_today(
    root: Path, request: pytest.FixtureRequest
) -> None:
    run = root / "run"
    hand_over(HostMachine(root).facts(), run)
    assert (run / HANDED_NAME).stat().st_mode & 0o777 == 0o644
    assert json.loads((run / HANDED_NAME).read_text())["hardware_id"] == "G6BN2220"
    (root / "proc/sys/kernel/random/boot_id").write_text("00000000-7b1f-4a5e-9f62-1f8f4a2c1d56\n")
    request.getfixturevalue("unprivileged")
    facts = HostMachine(root, handed=run / HANDED_NAME).facts()
    assert facts.hardware_id == "G6BN2220"
    assert facts.boot_id.startswith("00000000")


def test_nothing_handed_over_names_all_that_was_tried(root: Path, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("unprivileged")
    with pytest.raises(Rejected, match=r"product_serial.*machine\.json.*not there"):
        HostMachine(root, handed=root / "run" / HANDED_NAME).facts()
