"""The name that a Vessel alone holds the Lease by, where the machine tells no serial."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
import structlog

from vessel.__main__ import _own_name

LOG = structlog.get_logger()


def test_two_machines_of_one_host_name_have_two_names_and_keep_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "nuc")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, other = _own_name(tmp_path / "a", LOG), _own_name(tmp_path / "b", LOG)
    assert re.fullmatch(r"nuc-[0-9a-f]{8}", one) and one != other
    assert _own_name(tmp_path / "a", LOG) == one


def test_a_damaged_one_is_set_aside_and_said(tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_bytes(b"\0" * 9)
    with structlog.testing.capture_logs() as logs:
        name = _own_name(tmp_path, structlog.get_logger())
    assert [e["name"] for e in logs] == [name] and "identity.json.corrupt-1" in logs[0]["path"]
    assert (tmp_path / "identity.json.corrupt-1").is_file()
