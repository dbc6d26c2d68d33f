"""What an overlay shows otherwise than its image does, path by path, and in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from edge_commander.overlay.allowed import Allowed
from edge_commander.overlay.layers import ROOT, Entry, Index, Kind, Tree, counterpart, join, merged, plain


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One path that differs. `what`: added, changed or removed; `aspects` of what was changed: kind, content, mode,
    owner, xattrs. `moved_from`: the image's path, where it was moved. `allowed`: it may differ. Never any content."""

    path: str
    what: str
    kind: str
    aspects: list[str] = []
    moved_from: str = ""
    allowed: bool = False

    def words(self) -> str:
        """One line for people."""
        how = f" ({', '.join(self.aspects)})" if self.aspects else ""
        moved = f", moved from {self.moved_from}" if self.moved_from else ""
        return f"{self.what:<8} {self.path or '.'}{'/' if self.kind == Kind.DIRECTORY else ''}{how}{moved}"


class Hidden(msgspec.Struct, frozen=True, kw_only=True):
    """An opaque directory, and how many of the image's paths below it are not seen."""

    path: str
    hides: int


def aspects(entry: Entry, image: Entry) -> list[str]:
    """In what two entries of one path differ."""
    if entry.kind is not image.kind:
        return ["kind"]
    pairs = {
        "content": (entry.content, image.content),
        "mode": (entry.mode, image.mode),
        "owner": ((entry.uid, entry.gid), (image.uid, image.gid)),
        "xattrs": (entry.xattrs, image.xattrs),
    }
    return [name for name, (one, other) in pairs.items() if one != other]


def differences(upper: Tree, lower: Tree, allowed: Allowed) -> list[Change]:
    """Every path that the overlay of both shows differently, in order. With the contents of all files read."""
    return seen(merged(upper, lower), lower, allowed, _moved(upper, lower))


def seen(shown: Tree, lower: Tree, allowed: Allowed, moved: Mapping[str, str] = MappingProxyType({})) -> list[Change]:
    """Every path of `shown`, such as the overlay as it is mounted, that differs from the image, in order."""
    found: list[Change] = []
    for path in sorted({*shown, *lower}):
        now, image = shown.get(path), lower.get(path)
        if image is not None and image.kind is Kind.WHITEOUT:
            image = None
        if now is None:
            if image is not None:
                found.append(Change(path=plain(path), what="removed", kind=image.kind, allowed=allowed.covers(path)))
        elif image is None:
            may = allowed.covers(path) or (now.kind is Kind.DIRECTORY and allowed.leads(path))
            source = moved.get(path, "")
            found.append(Change(path=plain(path), what="added", kind=now.kind, moved_from=source, allowed=may))
        elif now is not image and (how := aspects(now, image)):
            may = allowed.covers(path)
            source = moved.get(path, "")
            found.append(
                Change(path=plain(path), what="changed", kind=now.kind, aspects=how, moved_from=source, allowed=may)
            )
    return found


def _moved(upper: Tree, lower: Tree) -> dict[str, str]:
    """Directories of the upper layer through which another path's image part shows, with that path."""
    through: dict[str, str | None] = {ROOT: ROOT}
    found = {}
    for path, entry in sorted(upper.items()):
        if path == ROOT or entry.kind is not Kind.DIRECTORY:
            continue
        parent, _, name = path.rpartition("/")
        through[path] = other = counterpart(entry, name, through.get(parent), lower)
        if entry.redirect and other is not None:
            found[path] = plain(other)
    return found


def copies(upper: Tree, lower: Tree) -> int:
    """Entries of the upper layer, directories left out, that are as the image's: copied up, and nobody's change."""
    return sum(
        1
        for path, entry in upper.items()
        if entry.kind in (Kind.FILE, Kind.LINK, Kind.OTHER)
        and not entry.metacopy
        and (image := lower.get(path)) is not None
        and not aspects(entry, image)
    )


def hidden(upper: Tree, lower: Tree) -> list[Hidden]:
    """The opaque directories over one of the image's, in order."""
    index = Index(lower)
    return [
        Hidden(path=plain(path), hides=len(list(index.below(path))) - 1)
        for path, entry in sorted(upper.items())
        if entry.opaque and path != ROOT and path in lower and lower[path].kind is Kind.DIRECTORY
    ]


def folded(changes: Sequence[Change]) -> list[tuple[Change, int]]:
    """For people: what lies below a removed or added directory is counted with it, where it was added or removed too
    and is alike allowed."""
    found: list[tuple[Change, int]] = []
    for change in changes:
        if found:
            top, count = found[-1]
            inside = change.path.startswith(join(top.path, "")) and top.path != ROOT
            alike = (change.what, change.allowed) == (top.what, top.allowed) and top.what != "changed"
            if inside and alike and top.kind == Kind.DIRECTORY and not change.moved_from:
                found[-1] = (top, count + 1)
                continue
        found.append((change, 0))
    return found
