"""`ident` that is sealed to the TPM is open while the wipe is judged, and no longer; systemd-cryptsetup is played."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.core.errors import Rejected
from edge_commander.wipe.sealed import opened

PROGRAM = """\
#!/bin/sh
echo "$@" >> {folder}/ran
case $1 in
attach) {attach}; ln -s "$3" {folder}/mapper/$2 ;;
detach) rm {folder}/mapper/$2 ;;
esac
"""


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A partition with a LUKS2 header."""
    device, key = tmp_path / "ident", tmp_path / "key"
    device.write_bytes(bytes(20 * 2**20))
    key.write_bytes(b"k" * 64)
    options = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", str(key)]
    subprocess.run(["cryptsetup", "luksFormat", "-q", "--type", "luks2", *options, str(device)], check=True)
    (tmp_path / "mapper").mkdir()
    return device


def play(folder: Path, monkeypatch: pytest.MonkeyPatch, attach: str = ":") -> None:
    program = folder / "bin/systemd-cryptsetup"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(folder=folder, attach=attach))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin")


def test_it_is_opened_by_the_tpm_and_closed_again(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sealed.parent
    play(folder, monkeypatch)
    with opened(sealed, folder / "mapper") as device:
        assert device.readlink() == sealed
    ran = (folder / "ran").read_text().splitlines()
    options = "tpm2-device=auto,headless=1,tries=1,read-only"
    assert ran == [f"attach galley-judged {sealed} none {options}", "detach galley-judged"]


def test_it_is_closed_whatever_happens_meanwhile(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sealed.parent
    play(folder, monkeypatch)
    with pytest.raises(KeyError), opened(sealed, folder / "mapper"):
        raise KeyError
    assert list((folder / "mapper").iterdir()) == []


def test_a_tpm_that_does_not_open_it_is_said(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(sealed.parent, monkeypatch, "echo 'TPM2 operation failed' >&2; exit 1")
    with pytest.raises(Rejected, match="cannot be opened or closed: TPM2 operation failed"), opened(sealed):
        pass


def test_one_that_is_not_there_is_no_missing_journal(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="it cannot be read: No such file"), opened(tmp_path / "ident"):
        pass


def test_where_nothing_opens_it_that_is_said(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(sealed.parent))
    with pytest.raises(Rejected, match="nothing here opens it"), opened(sealed):
        pass


def test_a_plain_one_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(tmp_path, monkeypatch)
    device = tmp_path / "ident"
    device.write_bytes(bytes(2**20))
    subprocess.run(["mkfs.ext4", "-q", "-F", str(device)], check=True)
    with opened(device) as found:
        assert found == device
    assert not (tmp_path / "ran").exists()
