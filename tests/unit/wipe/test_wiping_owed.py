"""What an old wipe owed is not taken for a new one's, and what was armed once is not armed again."""

from __future__ import annotations

from types import SimpleNamespace as Parts
from typing import Any
from unittest.mock import AsyncMock, MagicMock

from agents.contracts.messages import NodeState
from edge_commander.distribution.port import ClusterMember
from edge_commander.reasons import Why
from edge_commander.wiping.after import After
from edge_commander.wiping.duty import Duty
from edge_commander.wiping.plan import Facts, Grant, Wait, next_step


async def test_a_command_that_comes_while_the_old_lease_is_given_back_keeps_its_own_duty() -> None:
    duties: Any = Parts(duty=Duty(command_id="a" * 32, node="me", lease=True))
    duties.clear = lambda: setattr(duties, "duty", None)
    new = Duty(command_id="b" * 32, node="me", lease=True, cordoned=True, arming=True)

    async def give_back(node: str) -> bool:
        duties.duty = new
        return True

    members = AsyncMock(return_value=[ClusterMember(name="me", ready=True, server=True)])
    cluster = Parts(give_back=give_back, uncordon=AsyncMock())
    means: Any = Parts(duties=duties, log=MagicMock(), cluster=cluster, distribution=Parts(members=members))
    await After(means, AsyncMock()).look()
    assert duties.duty is new


def test_a_node_that_was_armed_and_whose_journal_is_gone_waits_for_a_person() -> None:
    for grant in Grant:
        step = next_step(Facts(state=NodeState.WIPING, in_cluster=False, grant=grant, kept_here=False, heard=True))
        assert isinstance(step, Wait) and step.reason.why is Why.WIPE_FAILED
