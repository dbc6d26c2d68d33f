"""What the demo prints: steps with their expected and their real time, and the lines of the story."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

_TTY = sys.stdout.isatty()
BOLD, DIM, GREEN, RED, OFF = ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m") if _TTY else ("",) * 5


def say(text: str = "") -> None:
    """One line, at once."""
    print(text, flush=True)


def title(text: str) -> None:
    """A heading of the story."""
    say(f"\n{BOLD}{text}{OFF}")


def good(text: str) -> None:
    """Something that was to happen and did."""
    say(f"  {GREEN}ok{OFF}   {text}")


def bad(text: str) -> None:
    """Something that was to happen and did not."""
    say(f"  {RED}FAIL{OFF} {text}")


def note(text: str) -> None:
    """An explanation."""
    say(f"       {DIM}{text}{OFF}")


@contextlib.contextmanager
def step(text: str, expected: float) -> Iterator[None]:
    """A step of the set-up, with its expected time in s before and the real one behind it."""
    print(f"{text} (expected: {expected:.0f} s) ... ", end="" if _TTY else "\n", flush=True)
    began = time.monotonic()
    yield
    say(f"  {GREEN}done{OFF} in {time.monotonic() - began:.1f} s")
