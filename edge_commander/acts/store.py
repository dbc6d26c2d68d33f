"""Touches `acts.json` on ident: how far the command in hand is, for verbs of more than one durable step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from agents.io.state import StateFile

NAME = "acts.json"
Count = Annotated[int, msgspec.Meta(ge=0)]


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One command that was begun. `id`: the command's; `boot`: the boot id it was begun in; `mark`: what was there
    before (of `rotate`: when the certificates began, Unix ms); `tries`: how often the deed itself was begun."""

    id: str
    boot: str = ""
    mark: int = 0
    tries: Count = 0


class Acts(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds. `act`: the newest one. `rebooted`: when a command last rebooted this node, Unix ms; 0: never
    yet. `owed`: the command whose turn to leave, and cordon, could not be given back before it was answered."""

    act: Act | None = None
    rebooted: Count = 0
    owed: str = ""

    def at(self, act: Act | None) -> Acts:
        """The same with that act."""
        return msgspec.structs.replace(self, act=act)


class ActFile:
    """`acts` is what is on disk. Raises Retryable when the disk does not answer."""

    def __init__(self, ident: Path) -> None:
        self._file = StateFile(ident / NAME, Acts)
        self.acts = self._file.load() or Acts()

    def of(self, command: str) -> Act | None:
        """What was begun for this command; None: nothing yet."""
        act = self.acts.act
        return act if act is not None and act.id == command else None

    def save(self, acts: Acts) -> None:
        """On disk when it returns."""
        if acts != self.acts:
            self._file.save(acts)
            self.acts = acts
