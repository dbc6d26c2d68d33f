"""What a boot says of its overlay: on the console at once, and in a file in memory for the report. Touches both."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from agents.io.state import write_durably
from edge_commander.overlay.layers import plain
from edge_commander.overlay.places import NOTES

MOST = 100


class Boot(msgspec.Struct, frozen=True):
    """`problems`: in words; `newer`: paths that stay, and below which the image has something newer; `memory`: changes
    of /etc are gone with the next start."""

    problems: list[str] = []
    newer: list[str] = []
    memory: bool = False


class Notes:
    """Gathers them."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.newer: list[str] = []
        self.memory = False

    def say(self, text: str) -> None:
        """On the console and in the journal alone."""
        print(f"galley-overlay: {plain(text)}", file=sys.stderr, flush=True)

    def problem(self, text: str) -> None:
        """Said, and reported."""
        self.problems.append(text)
        self.say(text)

    def leave(self, run: Path) -> None:
        """Where it cannot be left, it was at least said."""
        boot = Boot([plain(one)[:1000] for one in self.problems[:MOST]], self.newer[:MOST], self.memory)
        try:
            run.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_durably(run / NOTES, msgspec.json.encode(boot))
        except OSError as error:
            self.say(f"{run / NOTES}: {error.strerror}")


def read_notes(run: Path) -> Boot:
    """Those of this boot; none where there are none that can be read."""
    try:
        return msgspec.json.decode((run / NOTES).read_bytes(), type=Boot)
    except (OSError, msgspec.MsgspecError):
        return Boot()
