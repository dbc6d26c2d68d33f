"""What somebody wants tried in `make image-run`, judged before anything is made. Looks at files and one port."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.site_in_a_box.gpt import SECTOR, partitions

DISK_GIB = 16
LEAST_GIB = 6
"""Smaller ones are no disk of a node (images/nuc/files/usr/lib/galley/early)."""
KVM = Path("/dev/kvm")


class BadTrial(Exception):
    """It cannot be tried; the text says what is in the way, and what to do."""


@dataclass(frozen=True)
class Trial:
    """`stick`: the folder whose files lie on it, None: none. `disk`: a file, to be made where `missing`. `blank`: the
    machine starts from the stick, and makes a node of the disk; else from the disk, with no stick plugged in."""

    stick: Path | None
    disk: Path
    missing: bool
    blank: bool

    @property
    def folder(self) -> Path:
        """What stays of the machine besides its disk: the firmware's variables, the TPM, the console's log."""
        return self.disk.with_name(f"{self.disk.name}.nuc")


def judge(stick: Path | None, disk: Path) -> Trial:
    """Raises BadTrial."""
    if stick is not None and not stick.is_dir():
        raise BadTrial(f"STICK={stick}: {'a folder is wanted' if stick.exists() else 'no such folder'}")
    where = disk.absolute()
    if "," in where.name:
        raise BadTrial(f"DISK={disk}: QEMU takes no comma in the name of a disk")
    if not where.parent.is_dir():
        raise BadTrial(f"DISK={disk}: there is no folder {where.parent}")
    if not where.exists():
        return Trial(stick and stick.absolute(), where, missing=True, blank=True)
    if not where.is_file():
        raise BadTrial(f"DISK={disk}: a file is wanted: a disk of this machine is not touched")
    if where.stat().st_size < LEAST_GIB * 2**30:
        raise BadTrial(
            f"DISK={disk}: smaller than {LEAST_GIB} GiB, so no disk of a node; take a file that is not there"
        )
    return Trial(stick and stick.absolute(), where, missing=False, blank=_blank(disk, where))


@contextlib.contextmanager
def alone(trial: Trial) -> Iterator[None]:
    """Makes its folder. Raises BadTrial where its disk is another machine's now, which nothing is changed of."""
    trial.folder.mkdir(exist_ok=True)
    with (trial.folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadTrial(f"DISK={trial.disk}: a machine runs from it; DISK= names another") from None
        yield


def _blank(named: Path, disk: Path) -> bool:
    """The first sector is the last thing that an installation writes: without it the next start begins it anew."""
    with disk.open("rb") as file:
        if not file.read(SECTOR).strip(b"\0"):
            return True
    try:
        found = partitions(disk)
    except ValueError:
        found = {}
    if "ident" not in found:
        raise BadTrial(f"DISK={named}: holds something, and it is no node's: the image would not touch it")
    return False


def check_port(port: int) -> None:
    """Raises BadTrial where the page cannot be shown at this port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise BadTrial(f"127.0.0.1:{port} cannot be had for the page ({error}): PORT= names another") from None


def check_kvm(device: Path = KVM) -> None:
    """Raises BadTrial where there is none to be used."""
    if not os.access(device, os.R_OK | os.W_OK):
        raise BadTrial(f"KVM=1: {device} is not there, or may not be used; without KVM=1 the machine is emulated")


def forwards(said: list[str]) -> dict[int, int]:
    """`PORT:PORT`: the one that the machine calls, the one of this host's loopback. Raises BadTrial."""
    found = {}
    for one in said:
        parts = one.split(":")
        if len(parts) != 2 or not all(part.isdecimal() and 0 < int(part) < 65536 for part in parts):
            raise BadTrial(f"--forward {one}: PORT:PORT is wanted, such as 8443:40001")
        found[int(parts[0])] = int(parts[1])
    return found
