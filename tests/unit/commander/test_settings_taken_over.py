"""What is good of a medium is put into force and kept so that a cut between any two writes, or a full esp, is mended by
the next start or the same stick, and that nothing is left of what was refused."""

from __future__ import annotations

import os
import pwd
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
