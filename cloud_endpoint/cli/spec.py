"""What one `galley` command is. Pure."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Flag = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Command:
    """`words`: how it is called; `flags`: name, keyword arguments of argparse. No `columns`: shown as JSON.

    `run(client, options)` is awaited for the answer. `local`: it asks no endpoint, so `client` is None; a function
    where the flags tell. `rows`: the table's lines out of the answer; None: the answer itself. `status(answer,
    options)`: the exit status; None: 0. `more`: below the flags in its `--help`, as it is.
    """

    words: tuple[str, ...]
    help: str
    run: Callable[..., Any]
    flags: Sequence[Flag] = ()
    columns: Sequence[str] = ()
    local: bool | Callable[[argparse.Namespace], bool] = False
    rows: Callable[[Any], list[dict[str, Any]]] | None = None
    status: Callable[[Any, argparse.Namespace], int] | None = None
    more: Callable[[], str] | None = None

    def is_local(self, options: argparse.Namespace) -> bool:
        """Whether it asks no endpoint with these flags."""
        return self.local(options) if callable(self.local) else self.local
