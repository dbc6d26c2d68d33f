"""One value, many who ask at once: fetched once, handed to all, renewed in the background. The shell of renewal.py.

A failed fetch is remembered for a moment too: a hundred daemons that ask make one request, also when it fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from agents.core.backoff import Backoff
from agents.core.errors import GalleyError, Rejected, Retryable
from agents.core.ports import Clock
from edge_commander.renewal import Freshness, Lease, lease

T = TypeVar("T")

REFRESH_FLOOR = 5.0
"""A caller may ask past the cache (its token was refused), but not for a value younger than this, s."""


class SingleFlight(Generic[T]):
    """Keeps one value of `fetch`, which returns it with its lifetime in s. `uniform` gives the spread."""

    def __init__(
        self, fetch: Callable[[], Awaitable[tuple[T, float]]], clock: Clock, uniform: Callable[[float, float], float]
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._uniform = uniform
        self._lease: Lease[T] | None = None
        self._asked_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._backoff = Backoff(base=0.5, cap=30.0)
        self._failure: GalleyError | None = None
        self._again_at = 0.0

    async def get(self, *, past_cache: bool = False) -> tuple[T, float]:
        """The value and its remaining life in s. Raises what `fetch` raised (Retryable with when to ask again)."""
        now = self._clock.monotonic()
        held = self._lease
        fresh = Freshness.OVER if held is None else held.freshness(now)
        if past_cache and now - self._asked_at >= REFRESH_FLOOR:
            fresh = Freshness.OVER
        if fresh is not Freshness.FRESH and now >= self._again_at:
            self._start()
        if fresh is Freshness.OVER:
            if self._task is not None:
                await asyncio.shield(self._task)
            before, held, now = held, self._lease, self._clock.monotonic()
            if (
                held is None
                or held.freshness(now) is Freshness.OVER
                or (past_cache and before is held and self._failure)
            ):
                raise self._refusal(now)
        assert held is not None
        return held.value, held.ends_at - now

    def holds(self) -> bool:
        """Whether there is a value that may still be handed out."""
        return self._lease is not None and self._lease.freshness(self._clock.monotonic()) is not Freshness.OVER

    def forget(self) -> None:
        """Drops value and failure: something changed that makes both meaningless."""
        self._lease = self._failure = None
        self._again_at = 0.0

    async def aclose(self) -> None:
        """Ends a fetch that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        asked = self._clock.monotonic()
        try:
            value, lifetime = await self._fetch()
        except GalleyError as error:
            self._backoff = self._backoff.failed()
            hint = error.retry_after if isinstance(error, Retryable) else self._backoff.cap
            self._again_at = self._clock.monotonic() + self._backoff.delay(self._uniform, hint)
            self._failure = error
        else:
            self._backoff = self._backoff.succeeded()
            self._failure, self._again_at = None, 0.0
            self._asked_at = asked
            self._lease = lease(value, asked_at=asked, lifetime=lifetime, spread=self._uniform(-1, 1))
        finally:
            self._task = None

    def _refusal(self, now: float) -> GalleyError:
        wait = max(1.0, self._again_at - now)
        if isinstance(self._failure, Rejected):
            return Rejected(str(self._failure))
        return Retryable(str(self._failure or "not available yet"), retry_after=wait)
