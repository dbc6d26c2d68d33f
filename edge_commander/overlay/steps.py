"""What is done to an upper layer that is not mounted: each step a value that says what it does. Touches the upper
layer, its waiting room for what is removed, and the backups."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from agents.io.state import sync_directory
from edge_commander.overlay.backups import Backups, Note
from edge_commander.overlay.layers import plain
from edge_commander.overlay.read import TRUSTED
from edge_commander.overlay.rule import Act, Verdict

GOING = ".going"
"""Beside the upper layer: what is removed is moved there first, whole, so that no half of it is ever seen."""


@dataclass(frozen=True)
class Place:
    """Where the layers are. `image`: its version, and `number`: that of this start, for the backups."""

    lower: Path
    upper: Path
    backups: Backups
    image: str
    number: int = 1

    @property
    def going(self) -> Path:
        """See GOING."""
        return self.upper.parent / GOING


@dataclass(frozen=True)
class Save:
    """A copy to `keep`, flushed there before anything else is done."""

    path: str
    why: str
    deep: bool

    def describe(self) -> str:
        """In words."""
        return f"{self.path or '.'}: save it to keep, as it {self.why}"

    def execute(self, place: Place) -> None:
        """Raises OSError, Rejected."""
        note = Note(path=plain(self.path), why=self.why, image=place.image)
        place.backups.add(place.upper, self.path, number=place.number, note=note, deep=self.deep)


@dataclass(frozen=True)
class Remove:
    """Takes an entry out of the upper layer: the image's shows again."""

    path: str

    def describe(self) -> str:
        """In words."""
        return f"{self.path}: remove it from the upper layer"

    def execute(self, place: Place) -> None:
        """Raises OSError."""
        full = place.upper / self.path
        if not full.is_dir() or full.is_symlink():
            full.unlink()
        else:
            place.going.mkdir(mode=0o700, exist_ok=True)
            full.rename(place.going / "tree")
            tidy(place)
        sync_directory(full.parent)


@dataclass(frozen=True)
class Merge:
    """Takes a directory's marks: the image's files show beside its own."""

    path: str

    def describe(self) -> str:
        """In words."""
        return f"{self.path}: take its marks, so that it merges with the image's"

    def execute(self, place: Place) -> None:
        """Raises OSError. Done again, it changes nothing."""
        full = place.upper / self.path
        for name in (f"{TRUSTED}opaque", f"{TRUSTED}redirect"):
            if name in os.listxattr(full):
                os.removexattr(full, name)
        sync_directory(full)


@dataclass(frozen=True)
class Adopt:
    """Gives a directory the image's mode, owner and xattrs."""

    path: str
    image: str

    def describe(self) -> str:
        """In words."""
        return f"{self.path or '.'}: give it the mode, owner and xattrs of the image's"

    def execute(self, place: Place) -> None:
        """Raises OSError. Done again, it changes nothing."""
        full, its = place.upper / self.path, place.lower / self.image
        is_ = os.lstat(its)
        wanted = {name: os.getxattr(its, name) for name in os.listxattr(its) if not name.startswith(TRUSTED)}
        for name in os.listxattr(full):
            if not name.startswith(TRUSTED) and name not in wanted:
                os.removexattr(full, name)
        for name, value in wanted.items():
            os.setxattr(full, name, value)
        os.chown(full, is_.st_uid, is_.st_gid)
        full.chmod(is_.st_mode & 0o7777)
        sync_directory(full)


Step = Save | Remove | Merge | Adopt


def steps(verdict: Verdict) -> list[Step]:
    """What a verdict takes, in order; none for one that stays."""
    path, hides = verdict.mask.path, verdict.mask.hides
    match verdict.act:
        case Act.FOLLOW:
            return [Remove(path)]
        case Act.DROP:
            return [Save(path, verdict.words(), deep=True), Remove(path)]
        case Act.MERGE:
            return [Save(path, verdict.words(), deep=False), Merge(path)]
        case Act.ADOPT:
            saved: list[Step] = [] if verdict.copy else [Save(path, verdict.words(), deep=False)]
            return [*saved, Adopt(path, hides[0])]
        case Act.STAY | Act.TELL:
            return []


def tidy(place: Place) -> None:
    """Removes what a crash left in the waiting room. Raises OSError."""
    if place.going.exists():
        shutil.rmtree(place.going)
