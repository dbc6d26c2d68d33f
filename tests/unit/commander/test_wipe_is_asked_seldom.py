"""Who looks at the status every 2 s does not have the root half asked each time."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from agents.contracts.messages import NodeState
from edge_commander.surroundings import Surroundings


class _Record:
    state = NodeState.WIPING
    node = ""


class _Ledger:
    current = None


class _Memory:
    record, ledger, site = _Record(), _Ledger(), None


async def test_it_is_asked_once_however_often_it_is_looked_at() -> None:
    asked = 0
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def ask() -> Any:
        nonlocal asked
        asked += 1
        return await answer

    around = Surroundings(cast(Any, _Memory()), cast(Any, None), disks={}, members=list, wipe=ask)
    looks = [asyncio.create_task(around._wiped()) for _ in range(5)]
    await asyncio.sleep(0)
    answer.set_result({"phase": "running", "targets": [], "attempts": 0, "problem": ""})
    seen = await asyncio.gather(*looks)
    assert asked == 1
    assert seen == [await around._wiped()] * 5
    assert asked == 1, "nor soon again"
