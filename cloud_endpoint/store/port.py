"""The Store port: units of work over a transaction, and word of what changed. Pure.

All SQL is in this package's query modules, written for SQLite and PostgreSQL alike: `?` placeholders, BIGINT,
TEXT, `ON CONFLICT ... DO UPDATE`, `RETURNING`. An implementation brings a Tx and says when it is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from agents.core.errors import Rejected, Retryable

T = TypeVar("T")
Row = dict[str, Any]
Listener = Callable[[frozenset[str]], None]


class StoreUnusable(Rejected):
    """The store's file cannot be used: corrupt, foreign, or of a newer version. Nothing was changed."""


class StoreBusy(Retryable):
    """A unit of work could not be done or committed (locked, disk full, I/O error): nothing of it is stored."""


StoreFault = (StoreBusy, StoreUnusable)
"""What a loop over the store waits out: it says so, keeps what it has, and looks again."""


class Tx(Protocol):
    """One transaction, in the store's own thread. Its functions block."""

    @property
    def now_ms(self) -> int:
        """Receipt time: the store's clock at the start of this unit of work, Unix ms."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Runs one statement and returns its rows."""

    def notify(self, topic: str) -> None:
        """Names something that this unit of work changed: `site:<id>`, `node:<id>`, `beat:<node>`, `commands:<node>`,
        `enrolments`, `alerts`, `revocations`, `operators`. Listeners hear of it after the commit."""


class Store(Protocol):
    """Durable and shared. `write` returns after the commit is on disk; an exception in `work` undoes all of it."""

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Runs `work` in the writer's transaction. Raises what it raised, StoreBusy or StoreUnusable."""

    async def read(self, work: Callable[[Tx], T]) -> T:
        """Runs `work` on a consistent snapshot; it may not write. Raises what it raised, StoreBusy or StoreUnusable."""

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener(topics)` in the event loop after each commit that changed something; returns the stop."""

    def stats(self) -> dict[str, int]:
        """`writes`: units of work committed; `commits`: transactions they took."""

    async def aclose(self) -> None:
        """Finishes what was asked and closes."""
