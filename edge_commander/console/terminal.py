"""The screen of a text console, drawn anew by itself, whatever the configuration is. Touches the terminal.

On anything that is no terminal one screen, without a control character.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from edge_commander.console import qr
from edge_commander.console.look import Look
from edge_commander.console.screen import HEIGHT, WIDTH, lines
from edge_commander.console.view import Seen, view

DRAW_SECONDS = 2.0
DRAWING_SECONDS = 60.0
WHOLE_SECONDS = 10.0
"""The longest that what somebody else writes onto the screen (the kernel, systemd) stays there."""
HOME, HIDE_CURSOR = "\x1b[H", "\x1b[?25l"


def show(config: Path | None) -> int:
    """On standard output, see `console`. `config`: the file that was named."""
    # The kernel's console takes UTF-8 whatever the locale is, and has the blocks of the code in its font.
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    return console(Look(config), sys.stdout)


def console(
    look: Callable[[], Seen],
    out: TextIO,
    *,
    sleep: Callable[[float], None] = time.sleep,
    draw: Callable[[str], Sequence[str]] | None = None,
) -> int:
    """Draws until it is ended, or the terminal is gone; once where `out` is no terminal. `draw`: a text as a code."""
    terminal = out.isatty()
    drawn = draw or Drawn()
    there: list[str] = []
    turn = 0
    try:
        while True:
            shown = view(look())
            width, height = _size(out) if terminal else (WIDTH, HEIGHT)
            rows = lines(shown, drawn(qr.text(shown)), width=width, height=height)
            if not terminal:
                print("\n".join(rows), file=out)
                return 0
            full = [row.ljust(width) for row in [*rows, *[""] * (height - len(rows))]]
            whole = turn % round(WHOLE_SECONDS / DRAW_SECONDS) == 0 or len(full) != len(there)
            out.write(_over([] if whole else there, full))
            there, turn = full, turn + 1
            out.flush()
            sleep(DRAW_SECONDS)
    except KeyboardInterrupt:
        return 0
    except OSError:
        return 4


def _over(there: Sequence[str], rows: Sequence[str]) -> str:
    """What turns the rows `there`, all of them where there are none, into these: a console of pixels pays for each
    character, and mostly the time alone has changed.

    Over what is there, and not cleared before: a screen that is drawn anew must not flicker. Nor is a row's rest
    cleared: behind a whole row the cursor stands on its last character still, and that would go.
    """
    if not there:
        return HIDE_CURSOR + HOME + "\n".join(rows)
    changed = [number for number, row in enumerate(rows) if there[number] != row]
    return HIDE_CURSOR + "".join(f"\x1b[{number + 1};1H{rows[number]}" for number in changed)


class Drawn:
    """The code of a text, drawn by a process that ends, and kept until the text is another. Empty where it cannot be
    drawn: the screen stands without it, and it is tried again a minute later."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._text = ""
        self._rows: list[str] = []
        self._at = 0.0

    def __call__(self, text: str) -> list[str]:
        """Rows of blocks."""
        failed = not self._rows and self._monotonic() - self._at >= DRAWING_SECONDS
        if text != self._text or failed:
            self._text, self._rows, self._at = text, self._draw(text), self._monotonic()
        return self._rows

    def _draw(self, text: str) -> list[str]:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-m", "edge_commander.console.qr"],
                input=text.encode(), capture_output=True, check=False, timeout=DRAWING_SECONDS,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return []
        return done.stdout.decode().splitlines() if done.returncode == 0 else []


def _size(out: TextIO) -> tuple[int, int]:
    """Columns and rows; those of the smallest console where the terminal says less, or nothing."""
    try:
        found = os.get_terminal_size(out.fileno())
    except (OSError, ValueError):
        return WIDTH, HEIGHT
    return max(found.columns, WIDTH), max(found.lines, HEIGHT)
