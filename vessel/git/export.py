"""One revision's tree to a directory: the blobs as they are, no filters, no attributes, no way out. Blocking.

`git ls-tree` tells every path and size before anything is written; one `git cat-file --batch` then gives the
contents. Files come first and symbolic links last, so that nothing is ever written through a link. The
directory appears under its name only when it is whole and on the disk.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agents.core.errors import Rejected
from vessel.git.faults import Corrupt

_LINK, _SUBMODULE, _EXECUTABLE = b"120000", b"160000", b"100755"
_LINK_BYTES = 4096
TEMPORARY = ".incoming-"


@dataclass(frozen=True)
class ExportBounds:
    """What one revision may hold: files, bytes of one and of all of them."""

    files: int = 20_000
    file_bytes: int = 32 * 1024 * 1024
    total_bytes: int = 128 * 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """One path of a tree. `size` in bytes."""

    mode: bytes
    blob: bytes
    size: int
    path: str


def parse_tree(listing: bytes, bounds: ExportBounds) -> list[Entry]:
    """Checks `git ls-tree -r -z -l`. Raises Rejected with the path that cannot be exported."""
    entries: list[Entry] = []
    total = 0
    for record in listing.split(b"\0"):
        if not record:
            continue
        facts, _, raw = record.partition(b"\t")
        mode, _, blob, size = facts.split()
        path = _checked_path(raw)
        if mode == _SUBMODULE:
            raise Rejected("is a submodule: the Atlas must hold everything itself", file=path)
        length = int(size)
        total += length
        if length > (_LINK_BYTES if mode == _LINK else bounds.file_bytes):
            raise Rejected(f"has {length} bytes, more than the limit of {bounds.file_bytes}", file=path)
        if total > bounds.total_bytes:
            raise Rejected(f"the files of the commit have more than {bounds.total_bytes} bytes in all", file=path)
        entries.append(Entry(mode, blob, length, path))
        if len(entries) > bounds.files:
            raise Rejected(f"the commit has more than {bounds.files} files")
    return entries


def _checked_path(raw: bytes) -> str:
    try:
        path = raw.decode()
    except UnicodeDecodeError:
        raise Rejected("the name is not UTF-8", file=raw.decode(errors="backslashreplace")) from None
    if not path.isprintable():
        raise Rejected("the name has control characters", file=path.encode("unicode_escape").decode())
    parts = path.split("/")
    if any(part in ("", ".", "..") or part.lower() == ".git" or len(part.encode()) > 255 for part in parts):
        raise Rejected("is not a path that may be written", file=path)
    return path


def check_link(path: str, target: bytes) -> str:
    """A symbolic link's target as text. Raises Rejected when it leads out of the tree."""
    try:
        text = target.decode()
    except UnicodeDecodeError:
        text = ""
    whole = posixpath.normpath(posixpath.join(posixpath.dirname(path), text))
    inside = text and text.isprintable() and not text.startswith("/") and whole != ".." and not whole.startswith("../")
    if not inside or whole.split("/", 1)[0].lower() == ".git":
        raise Rejected("is a symbolic link out of the repository", file=path)
    return text


def export(trees: Path, revision: str, entries: list[Entry], read_batch: Callable[[IO[bytes], int], bytes]) -> Path:
    """Writes the tree and returns its directory. `read_batch` runs `git cat-file --batch` on a list of blobs.

    Raises Rejected for what may not be written, Corrupt when an object is missing, OSError when the disk refuses.
    """
    final = trees / revision
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=trees))
    try:
        links: list[tuple[Entry, bytes]] = []
        for group in _groups(entries):
            for entry, content in _contents(group, read_batch):
                if entry.mode == _LINK:
                    links.append((entry, content))
                else:
                    _write(temporary / entry.path, content)
        for entry, content in links:
            target = check_link(entry.path, content)
            place = temporary / entry.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)
        _flush_directories(temporary)
        temporary.chmod(0o700)
        temporary.replace(final)
        flush(trees)
    except FileExistsError:
        raise Rejected("the commit has two entries of one name") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(temporary)
    return final


def _groups(entries: list[Entry], limit: int = 8 * 1024 * 1024) -> Iterable[list[Entry]]:
    """Cuts the work so that no more than about `limit` bytes are in memory at once (or one file)."""
    group: list[Entry] = []
    size = 0
    for entry in entries:
        if group and size + entry.size > limit:
            yield group
            group, size = [], 0
        group.append(entry)
        size += entry.size
    if group:
        yield group


def _contents(entries: list[Entry], read_batch: Callable[[IO[bytes], int], bytes]) -> Iterable[tuple[Entry, bytes]]:
    with tempfile.TemporaryFile() as wanted:
        wanted.write(b"".join(entry.blob + b"\n" for entry in entries))
        wanted.seek(0)
        answer = read_batch(wanted, sum(entry.size + 200 for entry in entries))
    position = 0
    for entry in entries:
        end = answer.find(b"\n", position)
        header = answer[position:end].split()
        if (
            end < 0
            or len(header) != 3
            or header[0] != entry.blob
            or header[1] != b"blob"
            or int(header[2]) != entry.size
        ):
            raise Corrupt(f"object {entry.blob.decode()} cannot be read")
        content = answer[end + 1 : end + 1 + entry.size]
        if len(content) != entry.size:
            raise Corrupt(f"object {entry.blob.decode()} is cut short")
        position = end + 1 + entry.size + 1
        yield entry, content


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_directories(top: Path) -> None:
    for directory, _, _ in os.walk(top):
        flush(Path(directory))


def flush(directory: Path) -> None:
    """fsync of a directory."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
