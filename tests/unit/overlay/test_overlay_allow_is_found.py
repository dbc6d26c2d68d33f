"""`edge_commander.overlay.allow` in early boot: no YAML is read where it cannot be, however written."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_commander.overlay.configured import allow

PLAIN = "edge_commander:\n  overlay:\n    allow: [motd]\n"


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.encode(),
        PLAIN.replace("allow", '"allow"').encode(),
        PLAIN.replace("allow", '"al\\x6cow"').encode(),
        b"\xff\xfe" + PLAIN.encode("utf-16-le"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    ],
    ids=["plain", "quoted", "escaped", "UTF-16 LE", "UTF-16 BE"],
)
def test_the_setting_is_found_in_every_spelling(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "galley.yaml").write_bytes(data)
    problems: list[str] = []
    assert allow([tmp_path], problems.append) == ["motd"]
    assert problems == []


def test_what_cannot_hold_it_is_not_read_as_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr("agents.io.yamlfile.read", read.append)
    (tmp_path / "galley.yaml").write_text("v: 1\n")
    (tmp_path / "galley.d").mkdir()
    (tmp_path / "galley.d/10.yaml").write_text(PLAIN)
    assert allow([tmp_path], lambda problem: pytest.fail(problem)) == []
    assert read == [tmp_path / "galley.d/10.yaml"]


def test_a_file_that_cannot_be_opened_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    (tmp_path / "galley.yaml").write_text(PLAIN)
    monkeypatch.setattr(Path, "read_bytes", denied)
    monkeypatch.setattr(Path, "open", lambda self, mode: denied(self))
    problems: list[str] = []
    assert allow([tmp_path], problems.append) == []
    assert len(problems) == 1 and "overlay.allow is not read" in problems[0]
