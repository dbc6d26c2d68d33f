"""Observes what plan.py decides by: the journal, and until that is armed cluster, endpoint and disk. Touches them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from agents.contracts.command import Command, Verb
from agents.contracts.messages import NodeState
from agents.contracts.wipe import Target, WipeGrant
from agents.core.command_rules import SNAPSHOT, rebuilds
from agents.core.errors import GalleyError
from edge_commander.distribution.port import ClusterMember
from edge_commander.forming import site_names
from edge_commander.machine.wire import WIPE_STATE
from edge_commander.turns import gone
from edge_commander.verbs import Outcome
from edge_commander.wiping.duty import Duty
from edge_commander.wiping.means import Means
from edge_commander.wiping.outboxes import Heard
from edge_commander.wiping.plan import Facts, Grant, Journal
from edge_commander.wiping.quorum import cost

REBOOT_AGAIN = 180.0
"""A machine that still runs so long after it was told to start anew is told again, s."""


@dataclass
class Progress:
    """What this process knows of one command. A crash forgets it: everything in it is asked for, or done, again."""

    command_id: str
    since: float
    journal: Mapping[str, Any] | None = None
    looked: bool = False
    grant: WipeGrant | None = None
    snapshot: asyncio.Task[str] | None = None
    cordoned: bool = False
    drain_began: float | None = None
    drained: bool = False
    heard: Heard | None = None
    over: bool = False
    declared: bool = False
    rebooted: float | None = None
    failed: Outcome | None = None


async def observe(m: Means, own: Progress, command: Command) -> Facts:
    """All that counts now. Raises Retryable, Rejected."""
    duty = duty_of(m)
    if not own.looked:
        own.journal = _of(await m.machine.ask(WIPE_STATE), command.id)
        own.looked = True
    state = m.memory.record.state
    if own.journal is not None:
        return _armed(m, own, command, state)
    now = m.clock.monotonic()
    seen = await _of_cluster(m, command, state)
    return _facts_of(
        seen,
        retire=command.verb is Verb.RETIRE,
        rebuild=rebuilds(command),
        state=state,
        me=duty.node,
        noted=duty.lease,
        grant=_grant_of(own.grant),
        grant_why=own.grant.why if own.grant is not None else "",
        snapshot=_ended(own.snapshot),
        snapshot_problem=_problem(own.snapshot),
        cordoned=own.cordoned,
        drained=own.drained,
        heard=own.over or Target.VAR.value not in command.targets,
        waited=now - own.since,
        patience=m.settings.turn_seconds,
    )


def _armed(m: Means, own: Progress, command: Command, state: NodeState) -> Facts:
    duty = duty_of(m)
    if not duty.arming or duty.boot != m.boot_id:
        note(m, arming=True, boot=m.boot_id, boots=duty.boots + (duty.boot not in ("", m.boot_id)))
    assert own.journal is not None
    again = own.rebooted is not None and m.clock.monotonic() - own.rebooted < REBOOT_AGAIN
    unsent = bool(own.journal.get("unsent")) and not own.declared
    return Facts(
        retire=command.verb is Verb.RETIRE,
        state=state,
        me=duty.node,
        journal=Journal(str(own.journal["phase"]), str(own.journal.get("problem", "")), unsent),
        boots=duty_of(m).boots,
        rebooting=again,
        ended=duty.ended,
    )


async def _of_cluster(m: Means, command: Command, state: NodeState) -> dict[str, Any]:
    """What the cluster says. One that this node was never a Ready member of is not asked."""
    me = duty_of(m).node
    api = True
    members: Sequence[ClusterMember] = ()
    try:
        members = await m.distribution.members()
    except GalleyError:
        api = False
    mine = next((one for one in members if one.name == me), None)
    inside = state is NodeState.READY or mine is not None
    server = mine is not None and mine.server
    found = {
        "kept_here": m.cluster is not None, "in_cluster": inside, "api": api, "server": server,
        "quorum": cost(me, members),
        "snapshot_due": _snapshot_due(m, command, inside and (server or not api)),
    }  # fmt: skip
    if m.cluster is None or not (inside and api and server) or rebuilds(command):
        return found
    names = site_names(m.memory.site)
    holder = await m.cluster.holder()
    stale = gone(holder, names, members)
    busy = await m.cluster.busy(me, members, names)
    return found | {"holder": holder, "stale": stale, "busy": busy}


def _snapshot_due(m: Means, command: Command, server: bool) -> bool:
    kept = Target.KEEP.value not in command.targets  # else it would go with what it lies on
    wanted = m.settings.snapshot == "always" and command.args.get(SNAPSHOT) != "no"
    return wanted and server and kept and m.cluster is not None


def duty_of(m: Means) -> Duty:
    """What stands on `ident`; it was written before anything else."""
    assert m.duties.duty is not None
    return m.duties.duty


def note(m: Means, **changed: Any) -> None:
    """Changes it. Raises Retryable."""
    m.duties.save(msgspec.structs.replace(duty_of(m), **changed))


def _facts_of(seen: Mapping[str, Any], **rest: Any) -> Facts:
    """Both together."""
    return Facts(**{**seen, **rest})


def _of(record: Any, command_id: str) -> Mapping[str, Any] | None:
    """The journal's record, where it is this command's."""
    return record if isinstance(record, dict) and record.get("id") == command_id else None


def _grant_of(answer: WipeGrant | None) -> Grant:
    if answer is None:
        return Grant.UNKNOWN
    return Grant.GIVEN if answer.granted else Grant.REFUSED


def _ended(task: asyncio.Task[str] | None) -> bool | None:
    if task is None or not task.done():
        return None
    return not task.cancelled() and task.exception() is None


def _problem(task: asyncio.Task[str] | None) -> str:
    if task is None or not task.done() or task.cancelled():
        return ""
    return str(task.exception() or "")
