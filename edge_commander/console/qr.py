"""The code on the screen that a telephone reads: what a support desk asks first, and no secret. Pure.

`python -m edge_commander.console.qr` draws its standard input: whoever shows the code for years starts that for a
moment, and does not hold the encoder in memory (5 MB).
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_commander.console.view import View

MOST_CHARS = 106
"""Bytes in a code of version 5 and level L (ISO/IEC 18004, table 7): the largest that leaves room for the text."""
VERSION = 5
QUIET = 2
"""Light modules around it. The standard asks for 4; readers do with 2 where the ground is as dark as the code, and each
one more takes two columns from the text."""
FULL, UPPER, LOWER = "\u2588", "\u2580", "\u2584"
"""All of code page 437, so in the kernel's own console font."""


def text(view: View) -> str:
    """Lines: suite and version, node id, serial number, address, state and reason. ASCII, at most 106 characters; what
    is too long is cut at its end, where the reason's detail is."""
    reason = view.reason if view.waits else ""
    state = " ".join(part for part in (view.state, reason) if part)
    lines = [f"Galley {view.version}".strip(), view.node, view.serial[:24], *view.addresses[:1], state]
    joined = "\n".join("".join(c if " " <= c <= "~" else "?" for c in line) for line in lines if line)
    return joined[:MOST_CHARS].rstrip()


def half_blocks(modules: Sequence[Iterable[int]]) -> list[str]:
    """Rows of text, two modules to a character; light ones are drawn, as the screen's ground is dark."""
    field = [[True] * QUIET + [not module for module in row] + [True] * QUIET for row in modules]
    width = len(field[0])
    edge = [[True] * width] * QUIET
    field = [*edge, *field, *edge]
    if len(field) % 2:
        field.append([True] * width)
    glyphs = {(True, True): FULL, (True, False): UPPER, (False, True): LOWER, (False, False): " "}
    pairs = zip(field[::2], field[1::2], strict=True)
    return ["".join(glyphs[one] for one in zip(top, bottom, strict=True)) for top, bottom in pairs]


def draw(content: str) -> list[str]:
    """The code of `content`, of the same size whatever is in it: text beside it does not jump."""
    from segno import encoder

    found = encoder.encode(content, error="l", version=VERSION, micro=False)  # type: ignore[no-untyped-call]
    return half_blocks(found.matrix)


def _without_writers() -> None:
    """For a process that draws once and ends: segno's encoder without the writers that its package loads first, of
    pictures, with `urllib`, `http` and `ssl` behind them. They were two thirds of that process' CPU."""
    found = importlib.util.find_spec("segno")
    if found is not None and "segno" not in sys.modules:
        package = types.ModuleType("segno")
        package.__path__ = list(found.submodule_search_locations or ())
        sys.modules["segno"] = package


if __name__ == "__main__":
    _without_writers()
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    print("\n".join(draw(sys.stdin.read(MOST_CHARS))))
