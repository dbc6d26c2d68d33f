"""A root half that takes longer than its asker waits is not asked the same again meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agents.core.errors import Rejected, Retryable
from edge_commander.halves import client
from edge_commander.machine.client import Machine


class Half:
    """Answers when it is told to; `asked`: the operations in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def ask(self, socket: Path, operation: str, request: object, seconds: float) -> Any:
        self.asked.append(operation)
        return await self.answer


@pytest.fixture
async def half(monkeypatch: pytest.MonkeyPatch) -> Half:
    half = Half()
    monkeypatch.setattr(client, "ask", half.ask)
    return half


async def test_who_asks_again_waits_for_the_first_answer(half: Half) -> None:
    machine = Machine(Path("/nowhere"), 0)
    for _ in range(3):
        with pytest.raises(Retryable, match="no answer in time"):
            await machine.ask("wipe-state")
    assert half.asked == ["wipe-state"]
    with pytest.raises(Retryable):
        await machine.ask("reported")
    assert half.asked == ["wipe-state", "reported"], "another question is another process"
    half.answer.set_result("here")
    assert await Machine(Path("/nowhere"), 5).ask("reboot") == "here"


async def test_an_answer_is_given_once_and_never_to_a_later_question(half: Half) -> None:
    machine = Machine(Path("/nowhere"), 5)
    waiting = asyncio.create_task(machine.ask("wipe-state"))
    await asyncio.sleep(0)
    half.answer.set_result("first")
    assert await waiting == "first"
    await asyncio.sleep(0)
    half.answer = asyncio.get_running_loop().create_future()
    half.answer.set_exception(Rejected("no"))
    with pytest.raises(Rejected):
        await machine.ask("wipe-state")
    assert half.asked == ["wipe-state"] * 2
