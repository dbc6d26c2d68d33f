"""What was dropped of an upper layer, kept as tar files on `keep`: bounded, the oldest go. Touches that folder.

`<start>-<digest>.tar`, with owners, modes and xattrs as they were in the upper layer, marks and whiteouts too. The
first number counts the starts that dropped something; what was saved before a crash is not saved twice.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agents.core.errors import Rejected
from agents.io.state import sync_directory
from edge_commander.overlay.layers import ROOT

if TYPE_CHECKING:
    import tarfile

NAME = re.compile(r"(\d{6,9})-([0-9a-f]{32})\.tar")
NEW = ".new.tar"
MOST = 64
MOST_BYTES = 16 << 20
"""Files and bytes that are kept at most: an /etc has some MB."""


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """One that is there: of which path of /etc, why it was dropped, and which image asked for it."""

    file: str
    path: str
    why: str
    image: str = ""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What is said in a backup: see Backup."""

    path: str
    why: str
    image: str = ""

    def of(self, file: str) -> Backup:
        """With its file."""
        return Backup(file=file, path=self.path, why=self.why, image=self.image)


class Backups:
    """In `folder`, which is made when it is needed."""

    def __init__(self, folder: Path, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most = most
        self._most_bytes = most_bytes

    def add(
        self, top: Path, path: str, *, number: int, note: Note, deep: bool = True, lost: list[str] | None = None
    ) -> str:
        """Saves `top`/`path` (with `deep`, all below too); on return it survives a power cut. Returns its name.

        `lost`: where given, what cannot be read is left out and named there. Raises OSError; Rejected where it is
        larger than all backups may be.
        """
        size = sum(
            os.lstat(one).st_size + 2048 for one, _ in _entries(top, path, deep, [] if lost is not None else None)
        )
        if size > self._most_bytes:
            raise Rejected(f"{size} bytes are more than all backups may have ({self._most_bytes})", file=path or ".")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._folder / NEW
        said = msgspec.json.encode(note).decode()
        while True:
            try:
                digest = _write(new, said, _entries(top, path, deep, lost), lost)
                break
            except OSError as error:
                self._make_room(error, size, number)
        for one in self.files():
            if one.endswith(f"-{digest}.tar"):
                new.unlink()
                return one
        self._prune(new, number)
        name = f"{number:06d}-{digest}.tar"
        new.replace(self._folder / name)
        sync_directory(self._folder)
        return name

    def latest(self) -> int:
        """The highest number; 0 where there is none. Raises OSError."""
        return max((int(one.partition("-")[0]) for one in self.files()), default=0)

    def files(self) -> list[str]:
        """The names of all, the oldest first. Raises OSError."""
        if not self._folder.is_dir():
            return []
        found = [(int(match[1]), name) for name in self._names() if (match := NAME.fullmatch(name))]
        return [name for _, name in sorted(found)]

    def _names(self) -> list[str]:
        return [one.name for one in self._folder.iterdir()]

    def told(self) -> list[Backup]:
        """All, the oldest first; what cannot be read is named alone."""
        import tarfile

        found = []
        for name in self.files():
            try:
                with tarfile.open(self._folder / name) as tar:
                    found.append(msgspec.json.decode(_comment(tar), type=Note).of(name))
            except (OSError, tarfile.TarError, msgspec.MsgspecError, EOFError):
                found.append(Backup(file=name, path="", why="cannot be read"))
        return found

    def _older(self, number: int) -> list[str]:
        """Those of earlier starts: what this one saved, it may be about to remove."""
        return [one for one in self.files() if not one.startswith(f"{number:06d}-")]

    def _make_room(self, error: OSError, size: int, number: int) -> None:
        """Removes the oldest where that can help; else raises the error, and leaves no half backup."""
        files = self._older(number)
        left = sum((self._folder / one).stat().st_size for one in files)
        state = os.statvfs(self._folder)
        (self._folder / NEW).unlink(missing_ok=True)
        free = os.statvfs(self._folder).f_bavail * state.f_frsize
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not files or free + left < size:
            raise error
        (self._folder / files[0]).unlink()

    def _prune(self, new: Path, number: int) -> None:
        """Raises Rejected where what this start saved leaves no room; the half backup goes then."""
        coming = new.stat().st_size
        files, older = self.files(), self._older(number)
        sizes = {one: (self._folder / one).stat().st_size for one in files}
        while len(files) >= self._most or sum(sizes[one] for one in files) + coming > self._most_bytes:
            if not older:
                new.unlink()
                raise Rejected(f"this start's backups fill what all may have ({self._most}, {self._most_bytes} bytes)")
            (self._folder / older[0]).unlink()
            files.remove(older.pop(0))


def _comment(tar: tarfile.TarFile) -> str:
    return str(tar.pax_headers.get("comment", ""))


def _entries(top: Path, path: str, deep: bool, lost: list[str] | None) -> Iterator[tuple[str, str]]:
    """Full path and name in the tar of everything that is saved, parents first."""
    full = os.fspath(top / path) if path else os.fspath(top)
    try:
        directory = stat.S_ISDIR(os.lstat(full).st_mode)
        yield full, path or "."
        names = sorted(one.name for one in os.scandir(full)) if deep and directory else []
    except OSError:
        if lost is None:
            raise
        lost.append(path or ".")
        return
    for name in names:
        yield from _entries(top, f"{path}/{name}" if path != ROOT else name, deep, lost)


def _write(new: Path, note: str, entries: Iterator[tuple[str, str]], lost: list[str] | None) -> str:
    """Writes the tar, flushed to the disk, and returns the digest of its bytes."""
    import tarfile

    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        hashed = _Hashed(file)
        stream: Any = hashed
        # As a stream: nothing is sought, and each byte is hashed once.
        tar = tarfile.open(  # noqa: SIM115 - closed below: where it fails half way, its end must not be written
            fileobj=stream, mode="w|", bufsize=65536, format=tarfile.PAX_FORMAT, pax_headers={"comment": note}
        )
        for full, name in entries:
            try:
                _put(tar, full, name)
            except OSError as error:
                if lost is None or error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                lost.append(name)
        tar.close()
        file.flush()
        os.fsync(file.fileno())
    return hashed.digest.hexdigest()[:32]


def _put(tar: tarfile.TarFile, full: str, name: str) -> None:
    if stat.S_ISSOCK(os.lstat(full).st_mode):  # nobody can be behind it any more
        return
    info = tar.gettarinfo(full, arcname=name)
    info.uname = info.gname = ""
    names = os.listxattr(full, follow_symlinks=False)
    info.pax_headers = {
        f"SCHILY.xattr.{one}": os.getxattr(full, one, follow_symlinks=False).decode(errors="surrogateescape")
        for one in sorted(names)
    }
    if not info.isreg():
        tar.addfile(info)
        return
    with Path(full).open("rb") as file:
        content = file.read()  # whole first: a read that fails half way would leave a torn tar
    info.size = len(content)
    import io

    tar.addfile(info, io.BytesIO(content))


class _Hashed:
    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return int(self._file.write(data))
