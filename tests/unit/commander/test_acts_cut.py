"""A verb cut between its notes: what was taken is given back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace as Parts
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from agents.contracts.messages import NodeState
from agents.core.errors import Retryable
from edge_commander.acts import rejoin
from edge_commander.acts.away import Seen
from edge_commander.acts.store import ActFile
from edge_commander.distribution.port import ClusterMember

COMMAND: Any = Parts(id="a" * 32)
THREE = Seen([ClusterMember(name=name, ready=True, server=True) for name in ("me", "other", "third")])
SILENT = Retryable("the API is not up yet")


async def test_a_rejoin_cut_after_it_took_the_turn_gives_it_back(tmp_path: Path) -> None:
    held, now = [""], [0.0]

    async def take(me: str, command: str) -> bool:
        held[0] = command
        raise Retryable("the answer was lost")

    async def back(me: str, command: str) -> None:
        held[0] = ""

    async def has(me: str, command: str) -> bool:
        return held[0] == command

    see = AsyncMock(return_value=THREE)
    cluster: Any = Parts(see=see, take_leave=take, give_leave_back=back, has_leave=has)
    own: Any = Parts(uncordon=AsyncMock(), cordon=AsyncMock(), evict=AsyncMock(side_effect=SILENT))
    formation: Any = Parts(is_member=True, left="", leave=lambda command: Parts(text="waits"))

    def start() -> rejoin.Rejoins:
        memory: Any = Parts(record=Parts(state=NodeState.READY, reason=Parts(text="")))
        clock: Any = Parts(monotonic=lambda: now[0])
        return rejoin.Rejoins(
            rejoin.Means(store=ActFile(tmp_path), memory=memory, formation=formation, cluster=cluster, own=own,
                         me=lambda: "me", now_ms=lambda: 0, clock=clock, drain_seconds=1, log=MagicMock())
        )  # fmt: skip

    with pytest.raises(Retryable, match="lost"):
        await start().execute(COMMAND)
    see.side_effect = SILENT
    again = start()
    outcome = await again.execute(COMMAND)
    while outcome is None and now[0] < 10 * rejoin.LONGEST_SECONDS and held[0]:
        now[0] += rejoin.LONGEST_SECONDS / 4
        outcome = await again.execute(COMMAND)
    assert outcome is None or outcome.result != "refused"
    assert held[0] == "" or ActFile(tmp_path).of(COMMAND.id) is not None, "whoever starts next knows of it"
