"""What is told to the person at the terminal, and the question before something is signed. Touches stdin and stderr.

Answers for scripts go to stdout, so all of this goes to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from agents.core.errors import Rejected


def tell(lines: Sequence[str]) -> None:
    """For people."""
    for one in lines:
        print(one, file=sys.stderr)


def confirm(lines: Sequence[str], *, yes: bool) -> None:
    """Shows what is to be signed; raises Rejected unless a person says yes to it, or the flag did."""
    tell(lines)
    if yes:
        return
    if not sys.stdin.isatty():
        raise Rejected("nothing is signed: there is no terminal to ask on, and no --yes")
    print("Type yes to sign: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != "yes":
        raise Rejected("nothing is signed")
