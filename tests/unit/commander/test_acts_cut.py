"""A verb cut between its notes: what was taken is given back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace as Parts
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from agents.contracts.messages import NodeState
from agents.core.errors import Retryable
from edge_commander.acts import build, rejoin
from edge_commander.acts.away import Seen
from edge_commander.acts.store import NAME, Act, ActFile
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


async def test_what_a_rejoin_could_not_give_back_is_given_back_once_the_cluster_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No clock ends its turn for the others, so it must not be left lying with a command that was answered."""
    now = [0.0]
    own: Any = Parts(uncordon=AsyncMock(), cordon=AsyncMock(), evict=AsyncMock(return_value=[]))
    cluster: Any = Parts(
        see=AsyncMock(side_effect=SILENT), has_leave=AsyncMock(return_value=True), take_leave=AsyncMock(),
        give_leave_back=AsyncMock(side_effect=SILENT),
    )  # fmt: skip
    memory: Any = Parts(
        directory=tmp_path, record=Parts(state=NodeState.READY, reason=Parts(text=""), node="n-1"),
        ledger=Parts(current=None), site=Parts(roster=[Parts(name="me", node="n-1")]),
    )  # fmt: skip
    formation: Any = Parts(is_member=True, left="", leave=lambda command: Parts(text="waits"))
    store = ActFile(tmp_path)
    store.save(store.acts.at(Act(id=COMMAND.id)))
    rejoins = rejoin.Rejoins(
        rejoin.Means(store=store, memory=memory, formation=formation, cluster=cluster, own=own, me=lambda: "me",
                     now_ms=lambda: 0, clock=Parts(monotonic=lambda: now[0]), drain_seconds=1, log=MagicMock())
    )  # fmt: skip
    while await rejoins.execute(COMMAND) is None:
        now[0] += rejoin.LONGEST_SECONDS / 4
        assert now[0] < 10 * rejoin.LONGEST_SECONDS
    assert ActFile(tmp_path).acts.owed == COMMAND.id

    monkeypatch.setattr("edge_commander.rolling.gate.Gate", lambda *args: own)
    acts = build.Acts(
        memory=memory, times=MagicMock(), clock=MagicMock(), log=MagicMock(), distribution=MagicMock(),
        apart=MagicMock(), formation=formation, boot=lambda: "", reboot=AsyncMock(), drain_seconds=1,
    )  # fmt: skip
    monkeypatch.setattr(acts, "_cluster", lambda: cluster)
    await acts.give_back()
    assert ActFile(tmp_path).acts.owed, "it does not answer yet"
    cluster.give_leave_back.side_effect = None
    await acts.give_back()
    assert not ActFile(tmp_path).acts.owed
    cluster.give_leave_back.assert_awaited_with("me", COMMAND.id)
    calls = cluster.give_leave_back.await_count
    await acts.give_back()
    assert cluster.give_leave_back.await_count == calls


def test_the_name_of_the_acts_file_is_the_stores() -> None:
    assert build.ACTS == NAME
