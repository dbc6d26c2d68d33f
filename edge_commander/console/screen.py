"""The view as the screen of a text console, of 80 by 25 at least: plain text, nothing that moves a cursor. Pure.

The code stands at the right. What a person must read has room beside it, or the code gives way.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from unicodedata import combining, east_asian_width

from edge_commander.console.view import View
from edge_commander.shown import GUTTER, plain, stamp

WIDTH, HEIGHT = 80, 25
MOST_WIDTH, MOST_HEIGHT = 132, 60
"""Longer lines are hard to read; a screen of pixels has up to 240 by 67 characters."""


def lines(view: View, code: Sequence[str] = (), *, width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    """At most `height` rows of at most `width` characters. `code`: rows of blocks, see qr.py."""
    width = min(max(width, WIDTH), MOST_WIDTH)
    height = min(max(height, HEIGHT), MOST_HEIGHT)
    head = f"Galley {view.version}".strip()
    top = [f"{head}{stamp(view.now_ms):>{width - len(head)}}", "-" * width]
    room = height - len(top)
    if code:
        narrow = width - len(code[0]) - 1
        rows, whole = _must(view, narrow, room)
        if whole and len(rows) <= max(len(code), room):
            rows += _besides(view, rows, narrow, width, len(code))
            return [*top, *_beside(rows, code, narrow)][:height]
    rows, _ = _must(view, width, room)
    return [*top, *rows, *_besides(view, rows, width, width, 0)][:height]


def _must(view: View, width: int, room: int) -> tuple[list[str], bool]:
    """Who it is, where it is, what is to be done; and whether all of it is there in full."""
    rows = _rows("node", view.node or "not known yet", width)
    if view.who:
        rows += _rows("name", view.who, width)
    if view.serial:
        rows += _rows("serial", view.serial, width)
    if view.address:
        rows += _rows("address", view.address, width)
    rows += _rows("state", f"{view.state}{f', for {view.span}' if view.span else ''}", width)
    if view.reason:
        rows += _rows("waits", view.reason, width, most=6)
    if view.here:
        rows += _rows("do now", view.here, width, most=6)
    if not view.problems:
        return rows, len(rows) <= room
    left = room - len(rows) - 1
    problems, whole = _problems(view.problems, width, left)
    return [*rows, "", *problems], whole


def _problems(problems: Sequence[str], width: int, room: int) -> tuple[list[str], bool]:
    """Each in full where they fit, else in one line each; what does not fit even so is counted."""
    full = [row for one in problems for row in _rows("wrong", one, width, most=room)]
    if len(full) <= room:
        return full, True
    short = [row for one in problems for row in _rows("wrong", one, width, most=1)]
    if len(short) > room:
        short = [*short[: room - 1], f"{'':<{GUTTER}}and {len(problems) - room + 1} more"]
    return short, False


def _besides(view: View, above: Sequence[str], narrow: int, width: int, beside: int) -> list[str]:
    """What a person may read too. Rows that begin below the code's `beside` rows have the screen's whole width."""
    found: list[str] = []
    for name, text in [*view.more, *([("desk", view.desk)] if view.desk else [])]:
        if not found:
            found.append("")
        row = len(above) + len(found)
        found += _rows(name, text, narrow if row < beside else width, most=3)
    return found


def _beside(rows: Sequence[str], code: Sequence[str], narrow: int) -> list[str]:
    count = max(len(rows), len(code))
    left = [*rows, *[""] * (count - len(rows))]
    # An entry that begins beside the code is narrow to its end, so nothing runs into it.
    return [f"{row:<{narrow + 1}}{code[i]}" if i < len(code) else row for i, row in enumerate(left)]


def _rows(name: str, text: str, width: int, most: int = 2) -> list[str]:
    """One entry in two columns; what does not fit into `most` lines ends in dots."""
    room = width - GUTTER
    rows = textwrap.wrap(narrow(text), room, max_lines=most, placeholder=" ...", break_on_hyphens=False)
    return [f"{name if not i else '':<{GUTTER}}{row}" for i, row in enumerate(rows or [""])]


def narrow(text: str) -> str:
    """Plain, and each character takes one column: of a wide one (UAX 11) a text console makes two, so that the row
    would run into the next and move the screen up; a combining one takes none."""
    return "".join("?" if east_asian_width(one) in "WF" or combining(one) else one for one in plain(text))
