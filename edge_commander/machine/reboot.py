"""Starts the machine anew: everything is stopped in order first. Runs one program."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agents.core.errors import Retryable
from edge_commander.distribution.children import ended, start

SECONDS = 60.0
"""How long the program may take to hand the wish to the init system."""


async def reboot(program: Sequence[str]) -> None:
    """Runs `program`; the machine goes down soon after. Raises Retryable."""
    try:
        process = await start(program, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
    except OSError as error:
        raise Retryable(f"{program[0]}: cannot be started: {error.strerror}") from None
    try:
        async with asyncio.timeout(SECONDS):
            _, said = await process.communicate()
    except TimeoutError:
        raise Retryable(f"{program[0]}: no end within {SECONDS:.0f} s") from None
    finally:
        await ended(process)
    if process.returncode != 0:
        text = said.decode(errors="replace").strip()[-200:]
        raise Retryable(f"{program[0]}: ended with {process.returncode}: {text}")
