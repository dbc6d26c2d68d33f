"""Snapshots of etcd on disk: whether one is whole, and what is needed to restore it. Touches those files.

k3s encrypts its authorities inside the snapshot with the token; so the token, and all of the site's secrets, are
kept beside it, in a directory of their own: k3s takes every file of the snapshots' directory for a snapshot.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from pathlib import Path
from typing import Annotated

import msgspec

from agents.contracts.codec import Struct
from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.k3s import reference
from edge_commander.distribution.k3s.config import snapshots
from edge_commander.distribution.k3s.files import File
from edge_commander.distribution.k3s.host import Host
from edge_commander.distribution.k3s.settings import K3sSettings
from edge_commander.distribution.port import AUTO, Snapshot, room
from edge_commander.secrets.model import SiteSecrets

NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?")
_PAGE, _SUM = 512, 32
"""etcd appends a SHA-256 of the database, whose size is a multiple of 512 bytes (etcdutl, snapshot/v3_snapshot.go)."""
_CHUNK = 1024 * 1024


class Companion(Struct, frozen=True, kw_only=True):
    """What lies beside a snapshot: SHA-256 of the whole file, and the secrets of its cluster."""

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    secrets: SiteSecrets


def check_name(name: str) -> None:
    """Raises Rejected for what is no name of a snapshot."""
    if NAME.fullmatch(name) is None:
        raise Rejected("must be letters, digits, dots and hyphens, at most 63", path="name")


def candidates(host: Host, settings: K3sSettings, name: str, node: str) -> list[str]:
    """Paths of the snapshots of that name, newest first."""
    folder = host.place(snapshots(settings))
    start = reference.name("snapshot-file").format(name=name, node=node)
    found = [file.name for file in folder.glob(f"{start}*") if file.name.removeprefix(start).isdecimal()]
    return [f"{snapshots(settings)}/{one}" for one in sorted(found, key=lambda one: (len(one), one), reverse=True)]


def whole(path: Path) -> str:
    """Reads a snapshot to its end; the SHA-256 of the file. Raises Rejected when it is not whole. Blocking: some s."""
    try:
        size = path.stat().st_size
        if size % _PAGE != _SUM or size == _SUM:
            raise Rejected("is no complete snapshot of etcd", file=str(path))
        inner, outer = hashlib.sha256(), hashlib.sha256()
        with path.open("rb") as stream:
            left = size - _SUM
            while left:
                chunk = stream.read(min(_CHUNK, left))
                if not chunk:
                    raise Rejected("ends too early", file=str(path))
                left -= len(chunk)
                inner.update(chunk)
                outer.update(chunk)
            expected = stream.read(_SUM)
    except FileNotFoundError:
        raise Rejected("no such snapshot", file=str(path)) from None
    except OSError as error:
        raise Retryable(f"{path}: {error.strerror}") from None
    if inner.digest() != expected:
        raise Rejected("is damaged: its checksum differs", file=str(path))
    outer.update(expected)
    return outer.hexdigest()


def companion(snapshot: str) -> str:
    """Where a snapshot's companion lies: in `secrets` beside the snapshots' directory."""
    folder, _, name = snapshot.rpartition("/")
    return f"{folder.rpartition('/')[0]}/secrets/{name}.json"


def keep(host: Host, snapshot: str, sha256: str, secrets: SiteSecrets) -> None:
    """Writes the companion. Raises Retryable."""
    content = msgspec.json.encode(Companion(sha256=sha256, secrets=secrets))
    host.write(File(companion(snapshot), content))


def load(host: Host, snapshot: str) -> Companion:
    """Reads the companion. Raises Rejected when it is not there or none."""
    path = companion(snapshot)
    content = host.read(path)
    if content is None:
        raise Rejected("is missing: without the secrets of its cluster a snapshot cannot be restored", file=path)
    try:
        return msgspec.json.decode(content, type=Companion)
    except msgspec.MsgspecError:
        raise Rejected("is not what was written beside the snapshot", file=path) from None


def has_companion(host: Host, snapshot: str) -> bool:
    """Whether secrets were kept with it; k3s' own scheduled snapshots have none."""
    return host.read(companion(snapshot)) is not None


def checked(host: Host, snapshot: str) -> SiteSecrets:
    """The secrets of a snapshot that is whole and is the one they were written for. Raises Rejected."""
    beside = load(host, snapshot)
    if whole(host.place(snapshot)) != beside.sha256:
        raise Rejected("is not the snapshot that its secrets were kept with", file=snapshot)
    return beside.secrets


def listed(host: Host, settings: K3sSettings) -> list[Snapshot]:
    """Every whole snapshot with its secrets, the newest first. Blocking. Raises Retryable."""
    folder, found = snapshots(settings), []
    try:
        names = [one.name for one in host.place(folder).iterdir()] if host.place(folder).is_dir() else []
    except OSError as error:
        raise Retryable(f"{folder}: {error.strerror}") from None
    for path in (f"{folder}/{name}" for name in names):
        taken = path.rpartition("-")[2]
        with contextlib.suppress(Rejected):
            secrets = checked(host, path)
            found.append(
                Snapshot(
                    path=path,
                    site=secrets.site,
                    epoch=secrets.epoch,
                    taken=int(taken) if taken.isdecimal() else 0,
                    bytes=host.place(path).stat().st_size,
                    secrets=secrets,
                )
            )
    return sorted(found, key=lambda one: (one.age, one.path), reverse=True)


def make_room(host: Host, settings: K3sSettings) -> None:
    """Raises Retryable unless a snapshot of etcd's database fits beside what is there."""
    folder = host.place(settings.snapshot_dir)
    try:
        database = host.place(reference.path("wal")).parent / "snap" / "db"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        needed, free = database.stat().st_size if database.is_file() else 0, shutil.disk_usage(folder).free
    except OSError as error:
        raise Retryable(f"{settings.snapshot_dir}: {error.strerror}") from None
    room(settings.snapshot_dir, needed, free)


def thin_out(host: Host, settings: K3sSettings) -> None:
    """Removes the oldest of those that Edge Commander took by itself, but for `snapshot_keep`. Raises Retryable."""
    own = [one for one in listed(host, settings) if one.path.rpartition("/")[2].startswith(AUTO)]
    for one in own[settings.snapshot_keep :]:
        host.remove(one.path)
        host.remove(companion(one.path))
