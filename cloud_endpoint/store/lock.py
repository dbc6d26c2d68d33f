"""One endpoint a store: the lock beside the store's file. Touches that file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from agents.core.errors import Rejected, Retryable


def take(store: Path) -> int:
    """Locks `<store>.lock` and returns the descriptor that holds the lock; it ends with the process at the latest.

    The daemon alone takes it: `operator add` writes beside a running endpoint, in one transaction. Raises Rejected
    when another endpoint has the store (whose caches of sessions, limits and revocations this one would not see),
    Retryable when the file cannot be made.
    """
    name = store.with_name(store.name + ".lock")
    try:
        name.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Retryable(f"{name}: cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Rejected("another galley-endpoint runs on this store", file=str(store)) from None
    except OSError as error:
        os.close(descriptor)
        raise Retryable(f"{name}: cannot be locked: {error.strerror}") from None
    return descriptor
