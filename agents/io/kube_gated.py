"""A request's body with a last question before it leaves. Apart, as it is made of a class of aiohttp's."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
from aiohttp.abc import AbstractStreamWriter

Gate = Callable[[], object]
"""Called in the moment in which a request's bytes leave the process; what it raises stops the request."""


class Gated(aiohttp.BytesPayload):
    """A body that asks the gate right before it is written; aiohttp sends the head together with the body.

    Between a check in the caller and the write lie turns of the event loop, and the process may be stopped there.
    """

    def __init__(self, value: bytes, gate: Gate) -> None:
        super().__init__(value)
        self._gate = gate
        self.refusal: Exception | None = None

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Writes the body, or raises what the gate raised, before anything was sent."""
        try:
            self._gate()
        except Exception as error:
            self.refusal = error
            raise
        await super().write_with_length(writer, content_length)
