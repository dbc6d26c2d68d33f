"""What of an upper layer hides something newer of the image, and what is done about it. Pure.

Newer is what is not as it was when the upper layer's entry was made: each is remembered with what it hid then
(docs/decisions/0064). Nothing here asks for a clock or for an order of versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from edge_commander.overlay.allowed import Allowed
from edge_commander.overlay.layers import ROOT, Index, Kind, Tree, counterpart, doubled, fingerprint, join, plain


class Part(StrEnum):
    """Whereby an entry hides. A directory's own metadata hide the image's; its marks hide what is below."""

    ENTRY = "entry"
    MARK = "mark"


class Mask(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the upper layer, and the image's paths that are not seen for it."""

    path: str
    part: Part
    hides: list[str]

    @property
    def key(self) -> str:
        """Its name in the state: a directory's marks are named with a slash at the end."""
        return plain(self.path if self.part is Part.ENTRY else f"{self.path}/")


class Made(msgspec.Struct, frozen=True):
    """`upper`: the fingerprint of the entry; `hid`: those of the image's paths behind it when it was made."""

    upper: str
    hid: dict[str, str]


class Act(StrEnum):
    """What is done. `stay`: nothing newer is hidden. `tell`: it may differ, and stays. `follow`: a mere copy of the
    older image's, which goes. `drop`: it goes, into a backup. `merge`: a directory loses its marks, its own files
    stay. `adopt`: a directory gets the image's mode, owner and xattrs."""

    STAY = "stay"
    TELL = "tell"
    FOLLOW = "follow"
    DROP = "drop"
    MERGE = "merge"
    ADOPT = "adopt"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered from one start to the next. `image`: the version that `manifest`, the fingerprints of the
    image's whole /etc, is of; empty where the image names none. `made`: by a mask's key. `begun`: merges and adoptions,
    by path, that take more than one call and are done again after a crash: half done, they look like a person's change.
    `dropped`: the number of the last start that dropped something. Paths are as `plain` has them."""

    image: str = ""
    manifest: dict[str, str] = {}
    made: dict[str, Made] = {}
    begun: dict[str, Act] = {}
    dropped: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`newer`: the image's paths that are hidden and not as they were. `made`: what is to be remembered if it stays.
    `copy`: nobody changed it, so nothing is lost with it."""

    mask: Mask
    act: Act
    newer: list[str]
    made: Made
    copy: bool = False

    def words(self) -> str:
        """Why, for people."""
        if not self.newer:
            moved = "was moved, and what it was moved from shows at another place too"
            return "holds no content of its own (metacopy)" if self.act is Act.DROP else moved
        first = plain(", ".join(self.newer[:3])) + (f" and {len(self.newer) - 3} more" if len(self.newer) > 3 else "")
        return f"hid what the image has newer: {first or '.'}"


def masks(upper: Tree, lower: Tree) -> list[Mask]:
    """Every entry of the upper layer that hides something of the image, parents first."""
    above, under = Index(upper), Index(lower)
    found: list[Mask] = []

    def visit(path: str, parent: str | None) -> None:
        entry, name = upper[path], path.rpartition("/")[2]
        its = ROOT if path == ROOT else join(parent, name) if parent is not None else None
        if its not in lower:
            its = None
        if entry.kind is not Kind.DIRECTORY:
            if its is not None or entry.metacopy:
                hides = list(under.below(its)) if its is not None else []
                found.append(Mask(path=path, part=Part.ENTRY, hides=hides))
            return
        through = its if path == ROOT else counterpart(entry, name, parent, lower)
        if through is not None:
            found.append(Mask(path=path, part=Part.ENTRY, hides=[through]))
        if its is not None and its != through:
            found.append(Mask(path=path, part=Part.MARK, hides=list(under.below(its))))
        for one in above.names(path):
            visit(join(path, one), through)

    if ROOT in upper:
        visit(ROOT, ROOT if ROOT in lower else None)
    return found


def manifest(lower: Tree) -> dict[str, str]:
    """The fingerprints of a tree whose files' contents were all read."""
    return {plain(path): fingerprint(entry) for path, entry in lower.items()}


def judge(upper: Tree, lower: Tree, state: State | None, allowed: Allowed) -> list[Verdict]:
    """What is to be done about each mask, parents first. `upper` with the contents of all files, `lower` with those
    that a mask hides. `state` None where nothing is remembered: then all counts as made from this image."""
    found = [_verdict(mask, upper, lower, state, allowed) for mask in masks(upper, lower)]
    twice = set(doubled(upper, lower))
    others = [one for one in found if one.mask.part is not Part.MARK or one.mask.path not in twice]
    return others + [
        Verdict(mask=Mask(path=path, part=Part.MARK, hides=[]), act=Act.MERGE, newer=[], made=Made("", {}))
        for path in sorted(twice)
    ]


def _verdict(mask: Mask, upper: Tree, lower: Tree, state: State | None, allowed: Allowed) -> Verdict:
    entry = upper[mask.path]
    own = fingerprint(entry) if mask.part is Part.ENTRY else f"mark {entry.redirect}"
    now = {plain(path): fingerprint(lower[path]) for path in mask.hides}
    before = _before(mask.key, own, now, state)
    one = now[plain(mask.hides[0])] if len(mask.hides) == 1 and mask.part is Part.ENTRY else ""
    newer = [path for path in now if before.get(path) != now[path]] if own != one else []
    was = before.get(plain(mask.hides[0])) if one else ""
    copy = bool(newer) and own == was
    if entry.metacopy:
        act = Act.DROP
    elif not newer:
        act = Act.STAY
    elif copy:
        act = Act.ADOPT if entry.kind is Kind.DIRECTORY else Act.FOLLOW
    elif allowed.covers(mask.path):
        act = Act.TELL
    else:
        act = _against(mask, upper, lower, allowed)
    return Verdict(mask=mask, act=act, newer=newer, made=Made(own, before if newer else now), copy=copy)


def _before(key: str, own: str, now: Mapping[str, str], state: State | None) -> dict[str, str]:
    """What the mask hid when it was made. One that is not as remembered was made since the last start, of the image
    that ran then: the one of the manifest."""
    if state is None:
        return dict(now)
    known = state.made.get(key)
    hid = known.hid if known is not None and known.upper == own else state.manifest
    return {path: hid[path] for path in now if path in hid}


def _against(mask: Mask, upper: Tree, lower: Tree, allowed: Allowed) -> Act:
    """What is done about one that hides something newer and may not."""
    if upper[mask.path].kind is not Kind.DIRECTORY:
        return Act.DROP
    if mask.part is Part.ENTRY:
        return Act.ADOPT
    if lower[mask.hides[0]].kind is Kind.DIRECTORY:
        return Act.MERGE
    # A directory where the image has a file: what may differ is never dropped with it.
    return Act.TELL if any(allowed.covers(path) for path in Index(upper).below(mask.path)) else Act.DROP


def remembered(verdicts: list[Verdict], image: str, whole: dict[str, str], dropped: int) -> State:
    """The state after a start, of the verdicts on what is left."""
    made = {one.mask.key: one.made for one in verdicts}
    return State(image=image, manifest=whole, made=made, dropped=dropped)
