"""What is good of a medium is put into force and kept so that a cut between any two writes, or a full esp, is mended by
the next start or the same stick, and that nothing is left of what was refused."""

from __future__ import annotations

import errno
import os
import pwd
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agents.io.state import write_durably
from edge_commander.machine_settings import apply, medium

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


class Cut(BaseException):
    """The power is gone."""


class Node:
    """One machine's /etc and esp; `cut_at`: the write that the power goes before."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.etc, self.esp, self.stick = (folder / name for name in ("etc", "esp", "stick"))
        for one in (self.esp, self.stick / "galley", self.etc / "galley"):
            one.mkdir(parents=True)
        self.programs: list[list[str]] = []
        self.writes, self.cut_at = 0, 0
        monkeypatch.setattr(apply, "ETC", self.etc)
        monkeypatch.setattr(apply, "NOTICES", folder / "notices")
        monkeypatch.setattr(apply, "_daemons_say", lambda found: [])
        monkeypatch.setattr(apply, "_run", lambda *command: self.programs.append(list(command)))
        monkeypatch.setattr(apply, "write_durably", self._write)

    def _write(self, path: Path, *given: Any, **named: Any) -> None:
        self.writes += 1
        if self.writes == self.cut_at:
            raise Cut
        write_durably(path, *given, **named)

    def put(self, address: str, ca: str) -> None:
        network = f"machine: {{network: {{address: {address}/24}}}}\n"
        (self.stick / "galley.yaml").write_text(f"v: 1\n{network}")
        (self.stick / "galley/ca.pem").write_text(ca)

    def plug_in(self) -> int:
        return apply.main([str(self.stick), "--esp", str(self.esp), "--restart"])

    def boot(self) -> None:
        """As galley-settings.service: nothing is done where all of the esp is in /etc/galley."""
        kept = [*self.esp.glob("galley.yaml"), *self.esp.glob("galley/*")]
        if any((self.etc / "galley" / one.name).read_bytes() != one.read_bytes() for one in kept):
            assert apply.main([str(self.esp)]) == 0

    def state(self) -> tuple[str, str, str]:
        names = ("galley/galley.yaml", "galley/ca.pem", "systemd/network/10-galley.network")
        return tuple((self.etc / name).read_text() for name in names)  # type: ignore[return-value]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def _cut(node: Node, at: int) -> None:
    """Another stick's settings, with the power gone before that write."""
    node.cut_at = 0
    node.put("192.0.2.11", "old")
    assert node.plug_in() == 0
    node.put("192.0.2.12", "new")
    _until(node, at, node.plug_in)


def _until(node: Node, at: int, does: Callable[[], object]) -> None:
    node.writes, node.cut_at = 0, at
    with suppress(Cut):
        does()
    node.cut_at = 0


def test_cut_between_any_two_writes_also_of_the_next_start_network_and_settings_are_of_one_medium(node: Node) -> None:
    for at in range(1, 8):
        for then in range(5):
            _cut(node, at)
            _until(node, then, node.boot)
            node.boot()
            yaml, _, network = node.state()
            assert ("192.0.2.12" in yaml) is ("192.0.2.12" in network), (at, then)


def test_what_a_cut_left_half_the_same_stick_makes_whole_and_the_next_start_keeps_it(node: Node) -> None:
    for at in range(1, 8):
        _cut(node, at)
        assert node.plug_in() == 0
        node.boot()
        yaml, ca, network = node.state()
        assert "192.0.2.12" in yaml and ca == "new" and "192.0.2.12" in network, at


def test_one_stick_after_the_other_leaves_an_esp_that_can_be_read(node: Node) -> None:
    """After a wipe of `conf` it is all that the node has."""
    for number in range(1, medium.MAX_FILES + 4):
        node.put("192.0.2.11", "old")
        (node.stick / f"galley/operators-{number}.json").write_text("{}")
        (node.stick / f"galley/operators-{number - 1}.json").unlink(missing_ok=True)
        assert node.plug_in() == 0
    found, problems = medium.read(node.esp)
    assert not problems
    assert set(found) == {"galley.yaml", "ca.pem", f"operators-{medium.MAX_FILES + 3}.json"}


def test_a_full_esp_is_said_and_neither_it_nor_what_is_in_force_is_changed(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.put("192.0.2.11", "old")
    assert node.plug_in() == 0
    old, kept = node.state(), (node.esp / "galley.yaml").read_bytes()
    node.put("192.0.2.12", "new")
    real = os.statvfs

    def full(path: Any) -> os.statvfs_result:
        return os.statvfs_result((*real(path)[:4], 0, *real(path)[5:]))

    with monkeypatch.context() as patched:
        patched.setattr(os, "statvfs", full)
        for _ in range(2):
            assert node.plug_in() == 78
            assert "No space left on device" in apply.NOTICES.read_text()
    assert node.state() == old and (node.esp / "galley.yaml").read_bytes() == kept
    assert node.plug_in() == 0


def test_an_esp_that_fails_at_a_write_is_said_and_the_same_stick_tries_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.put("192.0.2.11", "old")
    with monkeypatch.context() as patched:

        def broken(path: Path, *given: Any, **named: Any) -> None:
            raise OSError(errno.EIO, "Input/output error", str(path))

        patched.setattr(
            apply, "write_durably", lambda path, *a, **n: broken(path) if node.esp in path.parents else None
        )
        patched.setattr(apply, "_notice", lambda said: node.programs.append(list(said)))
        assert node.plug_in() == 78
        assert "Input/output error" in node.programs[-1][0]
    assert node.plug_in() == 0 and (node.esp / "galley.yaml").exists()


def test_an_esp_that_a_trial_has_mounted_for_writing_stays_so(node: Node) -> None:
    """The two are one file system: read-only, nobody could take the tries from the good image's name."""
    node.put("192.0.2.11", "old")
    assert node.plug_in() == 0
    assert not [one for one in node.programs if one[0] == "mount"]


def test_an_esp_that_is_mounted_read_only_is_written_and_so_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((*real(path)[:8], os.ST_RDONLY, *real(path)[9:])))
    node.put("192.0.2.11", "old")
    assert node.plug_in() == 0
    asked = [one[2] for one in node.programs if one[0] == "mount"]
    assert asked == ["remount,rw", "remount,ro"]
