"""Asks a root half: one request, one answer, one connection. Touches its socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from agents.core.errors import Rejected, Retryable
from edge_commander.halves.answer import MAX_ANSWER, Answer, Family


async def ask(socket: Path, operation: str, request: msgspec.Struct, seconds: float) -> Any:
    """The operation's value. Raises Retryable, Rejected; after `seconds` without an answer, Retryable."""
    try:
        async with asyncio.timeout(seconds):
            data = await _exchange(socket, msgspec.json.encode(request))
    except (OSError, TimeoutError) as error:
        what = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        raise Retryable(f"{socket}: {what}") from None
    try:
        answer = msgspec.json.decode(data, type=Answer)
    except msgspec.MsgspecError:
        raise Retryable(f"{socket}: {operation} ended without an answer") from None
    if answer.family is Family.RETRY:
        raise Retryable(answer.text)
    if answer.family is Family.REFUSED:
        raise Rejected(answer.text)
    return answer.value


async def _exchange(socket: Path, data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(data)
        writer.write_eof()
        answer = bytearray()
        while len(answer) < MAX_ANSWER and (piece := await reader.read(65536)):
            answer += piece
        return bytes(answer)
    finally:
        writer.close()
