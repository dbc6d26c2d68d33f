"""What of a distribution's packages is missing: apt is bothered, and people are told, where there is a use in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import packages

PROGRAMS = {
    "dpkg-query": '[ "$4" = here ] && printf installed; true',
    "apt-cache": """for one in "$@"; do case $one in
        browser) printf 'browser:\\n  Installed: (none)\\n  Candidate: 1.0\\n  Version table:\\n     1.0 500\\n' ;;
        virtual) printf 'virtual:\\n  Installed: (none)\\n  Candidate: (none)\\n' ;;
    esac; done; [ "$LC_ALL" = C ]""",
    "apt-get": 'echo "$@" >>"$SAID"',
    "sudo": 'shift; exec "$@"',
}


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with what apt-get was called with. On this machine `here` is installed, and `browser` can be had."""
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/deb.example_Packages").touch()
    for name, does in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setattr(packages, "LISTS", tmp_path / "lists")
    monkeypatch.setattr(packages, "OPTIONAL", {"browser", "repart", "virtual"})
    monkeypatch.setattr(packages, "QUIETLY", 'apt-get install "$@"')
    return tmp_path / "said"


def needed(monkeypatch: pytest.MonkeyPatch, *names: str) -> int:
    monkeypatch.setitem(packages.GROUPS, "test", list(names))
    return packages.main("test")


def test_what_this_distribution_has_not_is_no_reason_to_ask_anybody(
    apt: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Debian 12 has no systemd-repart: each `make image` there said that it installs it."""
    assert needed(monkeypatch, "here", "repart", "virtual") == 0
    assert capsys.readouterr().out == "" and not apt.exists()


def test_what_can_be_had_is_said_and_installed(
    apt: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert needed(monkeypatch, "here", "git", "repart", "browser") == 0
    assert capsys.readouterr().out == "installing Debian packages: git browser (expected: up to 2 min)\n"
    assert apt.read_text().splitlines() == ["-qq update", "install git browser"]


def test_an_apt_that_knows_nothing_is_told_first(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's image has no lists: what is optional would never be looked for."""
    (apt.parent / "lists/deb.example_Packages").unlink()
    assert needed(monkeypatch, "here", "repart") == 0
    assert apt.read_text().splitlines() == ["-qq update"]
