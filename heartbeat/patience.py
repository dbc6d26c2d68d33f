"""Asks things that may hang (a dead mount, a stuck driver) on threads of their own, for a bounded time.

A call that hangs keeps its thread; it is not asked again until it returned, so a dead mount costs one thread,
never one per beat. The threads are daemons: none of them holds up the end of the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Patience:
    """Runs blocking questions, one at a time per key."""

    def __init__(self) -> None:
        self._busy: set[str] = set()

    @property
    def hanging(self) -> frozenset[str]:
        """The keys of the questions that have not been answered yet."""
        return frozenset(self._busy)

    async def ask(self, key: str, question: Callable[[], T], timeout: float) -> T | None:
        """The answer; None after `timeout` s, on OSError, or while an earlier question of this key hangs."""
        if key in self._busy:
            return None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T | None] = loop.create_future()
        self._busy.add(key)

        def settle(value: T | None, error: BaseException | None) -> None:
            self._busy.discard(key)
            if answer.done():
                return
            if error is None or isinstance(error, OSError):
                answer.set_result(value)
            else:
                answer.set_exception(error)

        def work() -> None:
            value: T | None = None
            failure: BaseException | None = None
            try:
                value = question()
            except BaseException as error:  # noqa: BLE001 - handed to the asker
                failure = error
            try:
                loop.call_soon_threadsafe(settle, value, failure)
            except RuntimeError:  # the loop ended while the question hung
                return

        threading.Thread(target=work, name=f"ask-{key}", daemon=True).start()
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            return None
