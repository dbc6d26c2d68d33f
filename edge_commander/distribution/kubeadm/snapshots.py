"""Snapshots' folders: etcd's data, and a record of what it is of. Reads and writes below the snapshots' folder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.ids import SiteId
from agents.core.errors import Rejected, Retryable
from agents.io.state import sync_directory, write_durably
from edge_commander.distribution.port import AUTO, Snapshot, room

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
DATABASE = "etcd.db"
RECORD = "snapshot.json"


class Record(Struct, frozen=True, kw_only=True):
    """What a snapshot is of. `nodes`: those of its cluster; `version`: of Kubernetes; `sha256`: of the database;
    `taken`: Unix s; `revision`: etcd's, 0 in records from before it was noted.

    It holds no authority: who restores makes new ones, or has the site's secrets.
    """

    v: int = 1
    site: SiteId
    epoch: int
    cluster: str
    version: str
    nodes: Sequence[str]
    sha256: str
    taken: int = 0
    revision: int = 0


def make_room(folder: Path, database: Path) -> None:
    """Raises Retryable unless a snapshot of etcd's `database` fits beside what is there; what a power cut left half
    made goes first."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for half in folder.glob(".*.new"):
            shutil.rmtree(half)
        needed = database.stat().st_size
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise Retryable(f"{error.filename or folder}: {error.strerror}") from None
    room(str(folder), needed, free)


def begin(folder: Path, name: str) -> Path:
    """An empty folder for a new snapshot, which `complete` gives its name. Rejected when the name is none."""
    if NAME.fullmatch(name) is None:
        raise Rejected(f"{name[:80]!r} is no name for a snapshot: lower-case letters, digits, dots and hyphens")
    new = folder / f".{name}.new"
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise Retryable(f"{new}: cannot be made: {error.strerror}") from None
    return new


def complete(new: Path, record: Record) -> Path:
    """Gives a whole snapshot its name, durably; one of the same name before it goes. Returns its folder."""
    target = new.with_name(new.name.removeprefix(".").removesuffix(".new"))
    try:
        (new / DATABASE).chmod(0o600)
        write_durably(new / RECORD, msgspec.json.format(msgspec.json.encode(record)) + b"\n")
        if target.exists():
            shutil.rmtree(target)
        new.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        raise Retryable(f"{target}: cannot be written: {error.strerror}") from None
    return target


def thin_out(folder: Path, keep: int) -> list[str]:
    """Removes the oldest of those that were taken by themselves, but for `keep`; their names. Raises Retryable."""
    found = [one for one in whole(folder) if Path(one.path).name.startswith(AUTO)]
    gone = [Path(one.path) for one in found[keep:]]
    try:
        for one in gone:
            shutil.rmtree(one)
    except OSError as error:
        raise Retryable(f"{folder}: cannot be thinned out: {error.strerror}") from None
    return [one.name for one in gone]


def whole(folder: Path) -> list[Snapshot]:
    """Those that are what was saved, the newest first. Raises Retryable where the folder cannot be read."""
    try:
        places = [one for one in folder.iterdir() if not one.name.startswith(".")] if folder.is_dir() else []
    except OSError as error:
        raise Retryable(f"{folder}: cannot be read: {error.strerror}") from None
    found = []
    for place in places:
        try:
            record = opened(place)
            size = (place / DATABASE).stat().st_size
        except (Rejected, OSError):
            continue
        found.append(
            Snapshot(
                path=str(place), site=record.site, epoch=record.epoch, taken=record.taken, revision=record.revision,
                bytes=size,
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (one.age, one.path), reverse=True)


def opened(folder: Path) -> Record:
    """The record of a whole snapshot; Rejected when it is none, or its database is not what was saved."""
    try:
        record = msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
        if digest(folder / DATABASE) != record.sha256:
            raise Rejected("is not what was saved: its checksum differs", file=str(folder / DATABASE))
    except OSError as error:
        raise Rejected(f"is no snapshot: {error.strerror}", file=str(folder)) from None
    except msgspec.MsgspecError as error:
        raise Rejected(f"is no snapshot's record: {error}", file=str(folder / RECORD)) from None
    return record


def digest(file: Path) -> str:
    """SHA-256 of a file, in hex."""
    import hashlib

    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
