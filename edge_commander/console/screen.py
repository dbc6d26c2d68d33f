"""The view as the screen of a text console of 80 by 25: plain text, nothing that moves a cursor. Pure."""

from __future__ import annotations

import textwrap

from edge_commander.console.view import View
from edge_commander.shown import GUTTER, stamp

WIDTH, HEIGHT = 80, 25


def lines(view: View) -> list[str]:
    """At most 25, none longer than the screen is wide. What a person can do comes before what they may read besides."""
    head = f"Galley {view.version}".strip()
    found = [f"{head}{stamp(view.now_ms):>{WIDTH - len(head)}}", "-" * WIDTH]
    found += _rows("node", f"{view.node or 'not known yet'}{f' ({view.who})' if view.who else ''}")
    if view.serial:
        found += _rows("serial", view.serial)
    if view.addresses:
        found += _rows("address", ", ".join(view.addresses))
    found += _rows("state", f"{view.state}{f', for {view.span}' if view.span else ''}")
    if view.reason:
        found += _rows("reason", view.reason, most=4)
    if view.advice:
        found += _rows("you can", view.advice, most=3)
    if view.problems:
        found += ["", *_problems(view.problems, HEIGHT - len(found) - 1)]
    if view.more:
        found.append("")
    for name, text in view.more:
        found += _rows(name, text, most=3)
    return found[:HEIGHT]


def _problems(problems: tuple[str, ...], room: int) -> list[str]:
    """Each in full where they fit, else in one line each; what does not fit even so is counted."""
    full = [row for one in problems for row in _rows("wrong", one, most=room)]
    if len(full) <= room:
        return full
    short = [row for one in problems for row in _rows("wrong", one, most=1)]
    if len(short) <= room:
        return short
    return [*short[: room - 1], f"{'':<{GUTTER}}and {len(problems) - room + 1} more"]


def _rows(name: str, text: str, most: int = 2) -> list[str]:
    """One entry in two columns; what does not fit into `most` lines ends in dots."""
    rows = textwrap.wrap(plain(text), WIDTH - GUTTER, max_lines=most, placeholder=" ...", break_on_hyphens=False)
    return [f"{name if not i else '':<{GUTTER}}{row}" for i, row in enumerate(rows or [""])]


def plain(text: str) -> str:
    """With a question mark for everything that is not printed as it is."""
    return "".join(one if one.isprintable() else "?" for one in text)
