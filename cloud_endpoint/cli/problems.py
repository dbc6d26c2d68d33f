"""A command line that cannot be so: all that is wrong with it at once. Pure."""

from __future__ import annotations

from agents.core.errors import Rejected


class BadInput(Rejected):
    """`problems`: one line each. The process exits with 2, as for a flag that there is not."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
