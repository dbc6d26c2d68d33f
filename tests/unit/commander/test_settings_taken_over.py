"""What is good of a medium is put into force and kept so that a cut between any two writes, or a full esp, is mended by
the next start or the same stick, and that nothing is left of what was refused."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edge_commander.machine_settings import apply

ME = pwd.getpwuid(os.getuid())


def test_a_file_for_one_daemon_is_never_there_with_another_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut between would leave it for good: its content is in force, and nobody looks at its owner."""
    steps: list[str] = []
    monkeypatch.setattr(pwd, "getpwnam", lambda name: ME)
    monkeypatch.setattr(os, "fchown", lambda fd, uid, gid: steps.append(f"given to {uid}"))
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: steps.append(f"given to {uid}"))
    rename = Path.replace

    def replace(self: Path, target: Any) -> Path:
        steps.append("there")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    apply._write(tmp_path, {"vessel.kubeconfig": b"secret"})
    assert steps == [f"given to {ME.pw_uid}", "there"]
    assert (tmp_path / "vessel.kubeconfig").stat().st_mode & 0o777 == 0o600


@pytest.fixture
def checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, list[str]]]:
    """(Daemon, user, files that it was shown) of each check; all find everything well."""
    seen: list[tuple[str, str, list[str]]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        place, daemon, user = command[-3:]
        assert Path(place).stat().st_mode & 0o777 == 0o755, "the daemon's user must reach it"
        seen.append((daemon, user, sorted(one.name for one in Path(place).iterdir())))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(apply, "CHECKED", tmp_path / "checked")
    monkeypatch.setattr(subprocess, "run", run)
    return seen


def test_each_daemon_checks_as_its_own_user_what_is_on_this_medium_alone(
    tmp_path: Path, checks: list[tuple[str, str, list[str]]]
) -> None:
    """Root would read whatever a stick's galley.yaml names, and quote it on the console."""
    (tmp_path / "checked").mkdir(mode=0o700)
    (tmp_path / "checked/ca.pem").write_text("of an earlier stick, that was refused")
    assert apply._daemons_say({"galley.yaml": b"v: 1"}) == []
    assert [one[:2] for one in checks] == [
        ("edge-commander", "galley-commander"),
        ("heartbeat", "galley-heartbeat"),
        ("vessel", "galley-vessel"),
        ("synthetic-client", "galley-synthetic"),
    ]
    assert all(files == ["galley.yaml"] for _, _, files in checks)
    assert 'setpriv --reuid="$3" --regid="$3" --init-groups' in apply.CHECK
    assert not (tmp_path / "checked").exists(), "secrets of a medium stay nowhere"


def test_a_check_that_does_not_end_is_said(checks: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(command: list[str], timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", never)
    found = apply._daemons_say({"galley.yaml": b"v: 1"})
    assert found[0] == "edge-commander: its check did not end within 120 s" and len(found) == 4
