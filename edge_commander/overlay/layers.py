"""A directory tree as values, and what an overlay of two of them shows. Pure.

The rules are the kernel's (Documentation/filesystems/overlayfs.rst), for one lower layer: a whiteout hides, a directory
merges unless it is opaque, `redirect` names where a moved directory's image part is, `metacopy` marks a file that has
metadata of its own alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

ROOT = ""
"""The path of a tree's own top."""


class Kind(StrEnum):
    """What an entry is. `other`: a device, a FIFO or a socket."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    WHITEOUT = "whiteout"
    OTHER = "other"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One path. `mode`: permission bits. `content`: SHA-256 of a file's bytes or a link's target, or a device's
    numbers; empty where it was not read. `xattrs`: name and SHA-256 of the value, in order, without the overlay's own.
    The last three are the overlay's marks, in an upper layer alone; a relative `redirect` is a sibling's name."""

    kind: Kind
    mode: int = 0
    uid: int = 0
    gid: int = 0
    content: str = ""
    xattrs: tuple[tuple[str, str], ...] = ()
    opaque: bool = False
    redirect: str = ""
    metacopy: bool = False

    @property
    def marked(self) -> bool:
        """Whether a directory hides the image's of its name."""
        return self.opaque or bool(self.redirect)


Tree = Mapping[str, Entry]
"""Entries by path relative to the top, without a leading slash; `ROOT` is the top itself."""


def fingerprint(entry: Entry) -> str:
    """128 bits in hex that say what a person sees of an entry: two are the same just when these are."""
    seen = (str(entry.kind), entry.mode, entry.uid, entry.gid, entry.content, entry.xattrs)
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:32]


def plain(path: str) -> str:
    """A path for files, reports and people: bytes that are no UTF-8 as `\\xff`."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def join(directory: str, name: str) -> str:
    """The path of `name` in a directory."""
    return f"{directory}/{name}" if directory else name


class Index:
    """A tree with its directories' names at hand."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._names: dict[str, list[str]] = {}
        for path in sorted(tree):
            if path != ROOT:
                directory, _, name = path.rpartition("/")
                self._names.setdefault(directory, []).append(name)

    def names(self, directory: str) -> list[str]:
        """In order; none for what is no directory."""
        return self._names.get(directory, [])

    def below(self, path: str) -> Iterator[str]:
        """The path itself, and all below it, in order."""
        if path in self.tree:
            yield path
            for name in self.names(path):
                yield from self.below(join(path, name))


def counterpart(upper: Entry, name: str, parent: str | None, lower: Tree) -> str | None:
    """The image's directory (or, for a metacopy, file) that shows through an entry of the upper layer.

    `parent`: the image's directory that shows through the one that it lies in, None where none does.
    """
    if upper.redirect.startswith("/"):
        path: str | None = upper.redirect.strip("/")
    elif upper.opaque or parent is None:
        return None
    else:
        path = join(parent, upper.redirect or name)
    found = lower.get(path) if path is not None else None
    return path if found is not None and found.kind is upper.kind else None


def merged(upper: Tree, lower: Tree, sources: dict[str, str] | None = None) -> dict[str, Entry]:
    """What the overlay shows. An entry that is the image's is the very object of `lower`. `sources`, where given, gets
    the image's path that each directory shows."""
    shown: dict[str, Entry] = {}
    whence = {} if sources is None else sources
    above, under = Index(upper), Index(lower)

    def image(path: str, at: str) -> None:
        """All of the image's `path`, shown at `at`."""
        if lower[path].kind is Kind.WHITEOUT:
            return
        shown[at] = lower[path]
        if lower[path].kind is Kind.DIRECTORY:
            whence[at] = path
        for name in under.names(path):
            image(join(path, name), join(at, name))

    def directory(at: str, low: str | None) -> None:
        """What is below a directory of the upper layer."""
        names = {*above.names(at), *(under.names(low) if low is not None else ())}
        for name in sorted(names):
            path = join(at, name)
            own, its = upper.get(path), join(low, name) if low is not None else None
            if own is None:
                if its is not None:
                    image(its, path)
                continue
            if own.kind is Kind.WHITEOUT:
                continue
            through = counterpart(own, name, low, lower)
            if own.kind is Kind.DIRECTORY:
                shown[path] = own
                if through is not None:
                    whence[path] = through
                directory(path, through)
            elif own.metacopy:
                data = lower[through].content if through is not None else ""
                shown[path] = msgspec.structs.replace(own, content=data)
            else:
                shown[path] = own

    if ROOT in upper:
        shown[ROOT] = upper[ROOT]
        directory(ROOT, ROOT if ROOT in lower else None)
    elif ROOT in lower:
        image(ROOT, ROOT)
    return shown


def doubled(upper: Tree, lower: Tree) -> list[str]:
    """Moved directories whose image part shows at another place too. The kernel refuses one of two such places
    (ESTALE), whichever is looked at later."""
    sources: dict[str, str] = {}
    merged(upper, lower, sources)
    places: dict[str, list[str]] = {}
    for at, path in sources.items():
        places.setdefault(path, []).append(at)
    found = set()
    for path, several in places.items():
        for at in several if len(several) > 1 else ():
            ways = [at[:end] for end in (*(n for n, letter in enumerate(at) if letter == "/"), len(at))]
            moved = [way for way in ways if way in upper and upper[way].redirect]
            if at != path and moved:
                found.add(moved[-1])
    return sorted(found)
