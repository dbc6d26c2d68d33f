"""Waiting for what changes in the store: `commands:<node>`, `site:<id>` and so on. A topic only wakes; read anew."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

from cloud_endpoint.store.port import Store


class Topics:
    """Wakes waiters after commits. In the event loop alone."""

    def __init__(self, store: Store) -> None:
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._stop: Callable[[], None] = store.listen(self._heard)

    def _heard(self, topics: frozenset[str]) -> None:
        for topic in topics:
            for event in self._waiters.get(topic, ()):
                event.set()

    def subscribe(self, *topics: str) -> tuple[asyncio.Event, Callable[[], None]]:
        """An event that is set whenever one of the topics changes (clear it, then read), and what ends it."""
        event = asyncio.Event()
        for topic in topics:
            self._waiters[topic].add(event)

        def end() -> None:
            for topic in topics:
                self._waiters[topic].discard(event)
                if not self._waiters[topic]:
                    del self._waiters[topic]

        return event, end

    def wake_all(self) -> None:
        """The endpoint stops: nobody waits any longer."""
        for events in self._waiters.values():
            for event in events:
                event.set()

    def close(self) -> None:
        """No longer listens."""
        self._stop()
