"""Reads a directory tree as values: an image's, an upper layer's, or what is shown. Follows no link."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec

from agents.core.errors import Rejected
from edge_commander.overlay.layers import ROOT, Entry, Kind, Tree, join

TRUSTED = "trusted.overlay."
USER = "user.overlay."
"""The names of an overlay's own extended attributes; the second where it was mounted with `userxattr`."""
MOST = 50_000
"""Entries of one tree. An /etc has some hundreds."""

PIECE = 1 << 16
"""Bytes that are read at once: more would be mapped and unmapped anew for each of some hundreds of small files."""


def read(top: Path, *, contents: bool, marks: str = TRUSTED) -> dict[str, Entry]:
    """The tree below `top`. `contents`: whether files are read too. `marks`: whose names are an overlay's marks.

    What goes away meanwhile is left out. Raises OSError naming the path; Rejected past `MOST` entries.
    """
    found: dict[str, Entry] = {}
    waiting = [ROOT]
    while waiting:
        path = waiting.pop()
        try:
            entry = _entry(os.fspath(top / path), contents, marks)
            names = sorted(one.name for one in os.scandir(top / path)) if entry.kind is Kind.DIRECTORY else []
        except FileNotFoundError:
            if path == ROOT:
                raise
            continue
        found[path] = entry
        if len(found) > MOST:
            raise Rejected(f"holds more than {MOST} entries", file=str(top))
        waiting += [join(path, name) for name in names]
    return found


def digested(top: Path, tree: Tree, paths: Iterable[str]) -> dict[str, Entry]:
    """The tree with the contents of the files at `paths` read. Raises OSError."""
    found = dict(tree)
    for path in paths:
        entry = found.get(path)
        if entry is not None and entry.kind is Kind.FILE and not entry.content:
            found[path] = msgspec.structs.replace(entry, content=_digest(os.fspath(top / path)))
    return found


def _entry(path: str, contents: bool, marks: str) -> Entry:
    is_ = os.lstat(path)
    every = _xattrs(path)
    own = {name.removeprefix(marks): value for name, value in every.items() if name.startswith(marks)}
    kind, content = _kind(path, is_, contents, "whiteout" in own)
    return Entry(
        kind=kind,
        mode=stat.S_IMODE(is_.st_mode),
        uid=is_.st_uid,
        gid=is_.st_gid,
        content="" if "metacopy" in own else content,
        xattrs=_seen(every, marks),
        opaque=own.get("opaque") == b"y",
        redirect=own.get("redirect", b"").decode(errors="surrogateescape"),
        metacopy="metacopy" in own and kind is Kind.FILE,
    )


def _kind(path: str, is_: os.stat_result, contents: bool, whiteout: bool) -> tuple[Kind, str]:
    """The kind, and what stands for the content."""
    if stat.S_ISDIR(is_.st_mode):
        return Kind.DIRECTORY, ""
    if stat.S_ISLNK(is_.st_mode):
        return Kind.LINK, hashlib.sha256(os.fsencode(Path(path).readlink())).hexdigest()
    if stat.S_ISREG(is_.st_mode):
        if whiteout and is_.st_size == 0:
            return Kind.WHITEOUT, ""
        return Kind.FILE, _digest(path) if contents else ""
    if stat.S_ISCHR(is_.st_mode) and is_.st_rdev == 0:
        return Kind.WHITEOUT, ""
    return Kind.OTHER, f"{stat.S_IFMT(is_.st_mode):o} {os.major(is_.st_rdev)}:{os.minor(is_.st_rdev)}"


def _xattrs(path: str) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA):  # a file system without, or one that went away meanwhile
            return {}
        raise


def _seen(every: dict[str, bytes], marks: str) -> tuple[tuple[str, str], ...]:
    """What the overlay passes on: all but its own, and those of an overlay in it without the one prefix more."""
    nested = f"{marks}overlay."
    names = {
        marks + name.removeprefix(nested) if name.startswith(nested) else name: value
        for name, value in every.items()
        if not name.startswith(marks) or name.startswith(nested)
    }
    return tuple((name, hashlib.sha256(value).hexdigest()) for name, value in sorted(names.items()))


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while piece := os.read(descriptor, PIECE):
            digest.update(piece)
    finally:
        os.close(descriptor)
    return digest.hexdigest()
