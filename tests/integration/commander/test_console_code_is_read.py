"""The code on the console, read off a picture of its screen by a reader that has nothing to do with what drew it."""

from __future__ import annotations

import os
import pty
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agents.contracts.messages import NodeState
from edge_commander.console import qr
from edge_commander.console.screen import lines
from edge_commander.console.terminal import Drawn, console
from edge_commander.console.view import Seen, view
from edge_commander.reasons import Reason, Why
from edge_commander.view import StatusDocument

NOW = 1_800_000_000_000
CELL = (8, 16)
"""Pixels of a character in the kernel's font."""
GROUND, INK = 0, 170
"""Of a console: light grey on black."""


def picture(rows: list[str], columns: int = 80) -> bytes:
    """The screen as a grey map. Letters are random dots: what stands beside a code is no ground for its reader."""
    wide, high = CELL
    noise = random.Random(1)
    halves = {" ": (0, 0), qr.UPPER: (1, 0), qr.LOWER: (0, 1), qr.FULL: (1, 1)}
    data = bytearray()
    for row in rows:
        cells = row.ljust(columns)
        for y in range(high):
            for cell in cells:
                if cell in halves:
                    data += bytes([INK if halves[cell][y * 2 // high] else GROUND]) * wide
                else:
                    data += bytes(noise.choice((GROUND, INK)) for _ in range(wide))
    return b"P5 %d %d 255\n" % (columns * wide, len(rows) * high) + bytes(data)


def read(rows: list[str], folder: Path) -> str:
    (folder / "screen.pgm").write_bytes(picture(rows))
    done = subprocess.run(
        ["zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", str(folder / "screen.pgm")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.stdout.strip()


def seen(reason: str) -> Seen:
    document = StatusDocument(
        state=NodeState.ENROLLING, reason=reason, since=NOW - 60_000, node="n-abcdefghij234567", site=None
    )
    return Seen(
        document=document, now_ms=NOW, version="1.4.0", serial="GEXX12345678", addresses=["192.168.100.17"]
    )  # fmt: skip


@pytest.mark.parametrize("reason", [Why.APPROVAL.value, "", Reason(Why.DISTRIBUTION, "x" * 300).text])
def test_the_screen_of_80_by_25_is_read(reason: str, tmp_path: Path) -> None:
    shown = view(seen(reason))
    text = qr.text(shown)
    assert read(lines(shown, Drawn()(text)), tmp_path) == text


def test_without_its_code_the_screen_is_not_read(tmp_path: Path) -> None:
    shown = view(seen(Why.APPROVAL.value))
    assert read(lines(shown, []), tmp_path) == ""
    damaged = [row if i < 8 else row[::-1] for i, row in enumerate(Drawn()(qr.text(shown)))]
    assert read(lines(shown, damaged), tmp_path) == ""


def test_what_a_terminal_gets_is_the_screen_that_is_read(tmp_path: Path) -> None:
    """Through a real terminal, as bytes."""
    master, slave = pty.openpty()
    got = bytearray()
    with os.fdopen(slave, "w", encoding="utf-8") as out:
        reader = threading.Thread(target=lambda: got.extend(_all(master)))
        reader.start()

        def once(_: float) -> None:
            raise KeyboardInterrupt

        assert console(lambda: seen(Why.APPROVAL.value), out, sleep=once) == 0
    reader.join(timeout=10)
    os.close(master)
    plain = got.decode()
    for sequence in ("\x1b[?25l", "\x1b[H", "\r"):
        plain = plain.replace(sequence, "")
    assert "\x1b" not in plain and [len(row) for row in plain.split("\n")] == [80] * 25
    assert read(plain.split("\n"), tmp_path) == qr.text(view(seen(Why.APPROVAL.value)))


def _all(descriptor: int) -> bytes:
    found = b""
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # the other end was closed
            return found
        if not data:
            return found
        found += data


def test_who_draws_it_is_a_process_that_loads_the_encoder_alone() -> None:
    text = "Galley 1.2.3\nn-abcdefghijklmnop\n192.0.2.11\nwaiting"
    run = "import runpy, sys; runpy.run_module('edge_commander.console.qr', run_name='__main__'); "
    run += "print(sorted({'segno.encoder', 'segno.writers', 'ssl', 'urllib.request', 'msgspec'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", run], input=text, capture_output=True, check=True, encoding="utf-8"
    )
    *rows, loaded = done.stdout.splitlines()
    assert rows == qr.draw(text)
    assert loaded == "['segno.encoder']"
