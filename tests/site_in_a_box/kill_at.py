"""Kills the own process (SIGKILL) just before its Nth operation of a kind; 0: never. `done`: how many there were."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any


class Counter:
    """Counts what passes `use`."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.done = 0

    def use(self) -> None:
        self.done += 1
        if self.done == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, call: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
        """The same call, counted; with `after`, once more when it returned."""

        def counted(*arguments: Any, **named: Any) -> Any:
            self.use()
            found = call(*arguments, **named)
            if after:
                self.use()
            return found

        return counted
