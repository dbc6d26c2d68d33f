"""A command line that cannot be so: all that is wrong with it at once. Pure."""

from __future__ import annotations

from typing import Any

from agents.contracts.codec import in_words, without_root
from agents.core.errors import Rejected


class BadInput(Rejected):
    """`problems`: one line each. The process exits with 2, as for a flag that there is not."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def told(error: Exception, type_: Any) -> str:
    """What a value of `type_` cannot be, in words, where msgspec says so in patterns and paths."""
    return without_root(in_words(str(error), type_))
