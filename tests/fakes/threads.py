"""`asyncio.to_thread` without threads: what is played in virtual time must not hang on how fast real ones are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class _Inline(ThreadPoolExecutor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


def inline() -> None:
    """From here on in the running loop."""
    asyncio.get_running_loop().set_default_executor(_Inline(1))
