"""One endpoint a store: the lock beside the store's file. Touches that file."""

from __future__ import annotations

from pathlib import Path

from agents.core.errors import Rejected, Retryable
from agents.io.lock import Lock


def take(store: Path) -> Lock:
    """Locks `<store>.lock`; the lock ends with the process at the latest.

    The daemon alone takes it: `operator add` writes beside a running endpoint, in one transaction. Raises Rejected
    when another endpoint has the store (whose caches of sessions, limits and revocations this one would not see),
    Retryable when the file cannot be made.
    """
    name = store.with_name(store.name + ".lock")
    try:
        name.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = Lock(name)
        if not lock.take():
            raise Rejected("another galley-endpoint runs on this store", file=str(store))
    except OSError as error:
        raise Retryable(f"{name}: cannot be used: {error.strerror}") from None
    return lock
