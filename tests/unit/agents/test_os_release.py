"""os-release(5) as images, the overlay and the heartbeat read it: one reader, and each one's own words for none."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.core.os_release import parse
from edge_commander.overlay import masking
from edge_commander.update import slots
from heartbeat import host

TEXT = """\
# IMAGE_VERSION=0.0.1
PRETTY_NAME="Debian GNU/Linux 13 (trixie)"
IMAGE_ID='galley nuc'
IMAGE_VERSION=1.2.0
IMAGE_VERSION=1.3.0
EMPTY=
HALF="a
no field
"""


def test_fields_come_without_quotes_and_the_last_one_counts() -> None:
    assert parse(TEXT) == {
        "PRETTY_NAME": "Debian GNU/Linux 13 (trixie)", "IMAGE_ID": "galley nuc", "IMAGE_VERSION": "1.3.0", "EMPTY": "",
        "HALF": '"a',
    }  # fmt: skip


@pytest.mark.parametrize(("data", "said"), [(TEXT.encode(), "1.3.0"), (b"\xff\nIMAGE_VERSION=2", "2"), (None, "")])
def test_all_three_read_the_same_file(tmp_path: Path, data: bytes | None, said: str) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    file = tmp_path / "usr/lib/os-release"
    if data is not None:
        file.write_bytes(data)
    assert slots.version(file) == said
    assert masking.version(tmp_path / "etc").endswith(said) and bool(masking.version(tmp_path / "etc")) == bool(said)
    release = host.os_release(str(file))
    assert host.versions(release).get("image", "") == said
    assert host.os_name(release) == ("Debian GNU/Linux 13 (trixie)" if data == TEXT.encode() else "")
