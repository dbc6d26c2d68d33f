"""`edge-commander status`: what this node is and waits for, from its socket, else its durable state. Touches both.

With `--console` the screen of a text console that is drawn anew by itself, whatever the configuration is; on anything
that is no terminal one screen, without a control character.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

import msgspec

from edge_commander.advice import CONFIG, advice
from edge_commander.console import qr
from edge_commander.console.ask import ask
from edge_commander.console.look import Look, daemon_says, own_version, read_config, socket_of
from edge_commander.console.screen import HEIGHT, WIDTH, lines
from edge_commander.console.view import Seen, view
from edge_commander.memory import STATE_NAME, read_record
from edge_commander.settings import CommanderSettings
from edge_commander.shown import as_text
from edge_commander.view import of_record

DRAW_SECONDS = 2.0
DRAWING_SECONDS = 60.0
HOME, TO_LINE_END, TO_SCREEN_END, HIDE_CURSOR = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[?25l"


def main(argv: Sequence[str]) -> int:
    """0: running; 3: not running (the durable state is shown); 4: no state; 78: the configuration is wrong, and what is
    known all the same is shown. `--console` shows all of that, and ends with its terminal alone."""
    parser = argparse.ArgumentParser(prog="edge-commander status")
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--console", action="store_true", help="a screen of 80 by 25, drawn anew by itself")
    options = parser.parse_args(argv)
    if options.console:
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
        return console(Look(options.config), sys.stdout)
    found = read_config(options.config)
    document = ask(socket_of(found.settings))
    running = document is not None
    # One that runs has passed its check; one that does not may have ended because of it.
    problems = found.problems or (() if running else daemon_says(options.config))
    for problem in problems:
        print(f"edge-commander: {problem}", file=sys.stderr)
    if document is None:
        own = found.settings.own if found.settings is not None else CommanderSettings()
        directory = Path(own.keys_dir)
        record = read_record(directory)
        if record is None:
            if not problems:
                print(f"edge-commander: does not run, and {directory / STATE_NAME} cannot be read", file=sys.stderr)
            return 78 if problems else 4
        document = of_record(record)
    version, named = own_version(), str(options.config or CONFIG)
    if options.output == "json":
        more = {"running": running, "version": version, "advice": advice(document, named).desk, "problems": problems}
        print(msgspec.json.encode({**msgspec.to_builtins(document), **more}).decode())
    else:
        print(as_text(document, running=running, now_ms=time.time_ns() // 10**6, config=named, version=version))
    return 78 if problems else 0 if running else 3


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
    try:
        while True:
            shown = view(look())
            width, height = _size(out) if terminal else (WIDTH, HEIGHT)
            rows = lines(shown, drawn(qr.text(shown)), width=width, height=height)
            if not terminal:
                print("\n".join(rows), file=out)
                return 0
            # Over what is there, and not cleared before: a screen that is drawn anew must not flicker.
            out.write(HIDE_CURSOR + HOME + "\n".join(row + TO_LINE_END for row in rows) + TO_SCREEN_END)
            out.flush()
            sleep(DRAW_SECONDS)
    except KeyboardInterrupt:
        return 0
    except OSError:
        return 4


class Drawn:
    """The code of a text, drawn by a process that ends, and kept until the text is another. Empty where it cannot be
    drawn: the screen stands without it."""

    def __init__(self) -> None:
        self._text = ""
        self._rows: list[str] = []

    def __call__(self, text: str) -> list[str]:
        """Rows of blocks."""
        if text != self._text:
            self._text, self._rows = text, self._draw(text)
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
    """Columns and rows."""
    try:
        return tuple(os.get_terminal_size(out.fileno()))  # type: ignore[return-value]
    except (OSError, ValueError):
        return WIDTH, HEIGHT
