"""What /etc has otherwise than the image, what is newer below, and what early boot did. Reads both layers.

The upper layer may be in use: it is only read, and what goes away meanwhile is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from agents.core.errors import GalleyError, Retryable
from edge_commander.overlay.allowed import Allowed
from edge_commander.overlay.backups import Backup, Backups
from edge_commander.overlay.changes import Change, Hidden, copies, differences, folded, hidden, seen
from edge_commander.overlay.layers import Entry
from edge_commander.overlay.masking import version
from edge_commander.overlay.notes import read_notes
from edge_commander.overlay.places import IMAGE, LOWER
from edge_commander.overlay.read import TRUSTED, USER, read
from edge_commander.overlay.rule import Act, judge
from edge_commander.overlay.settings import OverlaySettings
from edge_commander.overlay.store import Store
from edge_commander.overlay.summary import Summary, digest, first


class Newer(msgspec.Struct, frozen=True, kw_only=True):
    """A path that stays as it is, though the image's is another than the one it was made from. `why` it stays."""

    path: str
    why: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Names, never contents. `drift`: what differs and may not; `allowed`: what may. `copies`: of the upper layer, as
    the image's. `dropped`: backups of what early boot dropped, the oldest first. `problems` of this boot. `memory`:
    changes are gone with the next start."""

    image: str = ""
    drift: list[Change] = []
    allowed: list[Change] = []
    copies: int = 0
    opaque: list[Hidden] = []
    newer: list[Newer] = []
    dropped: list[Backup] = []
    problems: list[str] = []
    memory: bool = False

    def words(self) -> str:
        """For people."""
        lines = [f"image    {self.image or 'without a version'}"]
        if not self.drift:
            lines.append("drift    none")
        lines += [f"drift    {_line(*one)}" for one in folded(self.drift)]
        lines += [f"allowed  {_line(*one)}" for one in folded(self.allowed)]
        lines += [f"hidden   {one.hides} path(s) of the image below {one.path}/ (opaque)" for one in self.opaque]
        lines += [f"newer    {one.path}: {one.why}" for one in self.newer]
        lines += [f"dropped  {one.path or '.'}: {one.why} (keep has {one.file})" for one in self.dropped]
        lines += [f"problem  {one}" for one in self.problems]
        if self.memory:
            lines.append("memory   changes of /etc are gone with the next start")
        if self.copies:
            lines.append(f"copies   {self.copies} file(s) that are as the image's: no drift")
        return "\n".join(lines)


def _line(change: Change, more: int) -> str:
    return change.words() + (f" and {more} below" if more else "")


def compare(own: OverlaySettings, *, lower: Path | None = None, user: bool = False) -> Comparison | None:
    """None where this machine has no such overlay. `lower`: the image's /etc, where it is not at its place; `user`: the
    upper layer was mounted with `userxattr`. Raises Retryable where a layer cannot be read."""
    image, upper = lower or Path(own.run) / IMAGE, Path(own.upper)
    if not (image.is_dir() and upper.is_dir()):
        return None
    marks, allowed = USER if user else TRUSTED, Allowed(own.allow)
    below, above = _read(image, marks), _read(upper, marks)
    changes = differences(above, below, allowed)
    verdicts = judge(above, below, Store(upper.parent, Path(own.keep)).peek(), allowed)
    stays = [one for one in verdicts if one.act is not Act.STAY]
    notes = read_notes(Path(own.run))
    return Comparison(
        image=version(image) or _recorded(own),
        drift=[one for one in changes if not one.allowed],
        allowed=[one for one in changes if one.allowed],
        copies=copies(above, below),
        opaque=hidden(above, below),
        newer=[
            Newer(path=one.mask.key or "./", why="it may differ" if one.act is Act.TELL else "not dropped yet")
            for one in stays
        ],
        dropped=_dropped(own),
        problems=notes.problems,
        memory=notes.memory,
    )


def summary(own: OverlaySettings, etc: Path = Path(LOWER)) -> Any:
    """What the machine half answers: a Summary as plain values; None where there is no such overlay.

    It compares what is mounted: the marks of an upper layer are for CAP_SYS_ADMIN alone to see, which that half has
    not. What is newer below, is as early boot found it. Raises Retryable.
    """
    image = Path(own.run) / IMAGE
    if not image.is_dir():
        return None
    changes = seen(_read(etc), _read(image), Allowed(own.allow))
    drift = [one for one in changes if not one.allowed]
    notes = read_notes(Path(own.run))
    return msgspec.to_builtins(
        Summary(
            image=_recorded(own),
            drift=len(drift),
            drift_paths=first([one.path for one in drift]),
            # In words: what differed in its mode, and now in its content too, is news.
            drift_digest=digest([one.words() for one in drift]),
            newer=len(notes.newer),
            newer_paths=first(notes.newer),
            newer_digest=digest(notes.newer),
            dropped=[(one.file, one.path) for one in _dropped(own)],
            problems=notes.problems,
            memory=notes.memory,
        )
    )


def _read(top: Path, marks: str = TRUSTED) -> dict[str, Entry]:
    try:
        return read(top, contents=True, marks=marks)
    except OSError as error:
        raise Retryable(f"{error.filename}: cannot be read: {error.strerror}") from None
    except GalleyError as error:
        raise Retryable(str(error)) from None


def _recorded(own: OverlaySettings) -> str:
    state = Store(Path(own.upper).parent, Path(own.keep)).peek()
    return state.image if state is not None else ""


def _dropped(own: OverlaySettings) -> list[Backup]:
    try:
        return Backups(Path(own.keep)).told()
    except OSError:
        return []
