"""What a folder holds, by path, mode, owner, content and extended attributes: equal before and after, or not."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

Entry = tuple[str, int, int, str, tuple[tuple[str, bytes], ...]]
"""Mode as `ls -l` has it, uid, gid, what is in it (a digest, a link's target, a device's number), xattrs."""


def tree_print(folder: Path) -> dict[str, Entry]:
    """By path below the folder, itself as `.`."""
    found = {".": _entry(folder)}
    for path in folder.rglob("*"):
        found[str(path.relative_to(folder))] = _entry(path)
    return found


def _entry(path: Path) -> Entry:
    at = path.lstat()
    attributes = sorted(os.listxattr(path, follow_symlinks=False))
    values = tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in attributes)
    return stat.filemode(at.st_mode), at.st_uid, at.st_gid, _content(path, at), values


def _content(path: Path, at: os.stat_result) -> str:
    if stat.S_ISREG(at.st_mode):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if stat.S_ISLNK(at.st_mode):
        return str(path.readlink())
    return str(at.st_rdev) if stat.S_ISBLK(at.st_mode) or stat.S_ISCHR(at.st_mode) else ""
