"""What one `galley` command is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Flag = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Command:
    """`words`: how it is called; `flags`: name, keyword arguments of argparse. No `columns`: shown as JSON.

    `run(client, options)` is awaited for the answer. `local`: it asks no endpoint, so `client` is None. `rows`: the
    table's lines out of the answer; None: the answer itself. `status`: the exit status of an answer; None: 0.
    """

    words: tuple[str, ...]
    help: str
    run: Callable[..., Any]
    flags: Sequence[Flag] = ()
    columns: Sequence[str] = ()
    local: bool = False
    rows: Callable[[Any], list[dict[str, Any]]] | None = None
    status: Callable[[Any], int] | None = None
