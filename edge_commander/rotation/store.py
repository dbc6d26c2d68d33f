"""Touches `rotation.json`: by which generation of the site's secrets this node's servers run. On `var`, beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from agents.io.state import StateFile

NAME = "rotation.json"
Count = Annotated[int, msgspec.Meta(ge=0)]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """`runs`: the generation that certificates and keys here were last renewed for, in `epoch`. `renewing`: a renewal
    was begun and has not ended. `all_run_ms`: since when all servers run by `runs`, Unix ms; 0: not yet."""

    epoch: Count = 0
    runs: Count = 1
    renewing: bool = False
    all_run_ms: Count = 0


class ProgressFile:
    """`progress` is what is on disk. Raises Retryable when a disk does not answer. A file that was lost says the first
    generation: at worst a renewal is done again."""

    def __init__(self, state_dir: Path) -> None:
        self._file = StateFile(state_dir / NAME, Progress)
        self.progress = self._file.load() or Progress()

    def save(self, progress: Progress) -> None:
        """On disk when it returns."""
        if progress != self.progress:
            self._file.save(progress)
            self.progress = progress
