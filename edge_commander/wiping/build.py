"""Builds what a wipe works with, once a command came. Builds adapters."""

from __future__ import annotations

from agents.contracts.identity import Role
from agents.contracts.ids import Stream
from agents.contracts.ingest import IngestAnswer, IngestRequest
from agents.contracts.wipe import WipeGrant
from agents.io.uplink import HttpUplink
from edge_commander.distribution.apart import Apart
from edge_commander.machine.client import SOCKET, Machine
from edge_commander.wiping.cluster import WipeCluster
from edge_commander.wiping.duty import DutyFile
from edge_commander.wiping.entry import Wiping
from edge_commander.wiping.means import Means

ROLES = {
    Stream.HEARTBEAT: Role.HEARTBEAT,
    Stream.VESSEL: Role.VESSEL,
    Stream.SYNTHETIC: Role.SYNTHETIC,
    Stream.COMMANDER: Role.COMMANDER,
}
"""Whose token a stream takes: the daemons' own is asked for, as they cannot know what their outboxes lost."""

MACHINE_SECONDS = 40.0
"""Nothing that is asked takes as long; the loop of commands must be heard of more often than it would wait."""


def means(parts: Wiping) -> Means:
    """All of it."""
    context, tokens, cloud = parts.context, parts.tokens, parts.cloud
    endpoint = context.settings.endpoint
    assert endpoint is not None and tokens is not None and cloud is not None  # a command came from there
    apart = parts.distribution if isinstance(parts.distribution, Apart) else None

    async def grant(command_id: str) -> WipeGrant:
        return await tokens.with_bearer(lambda token: cloud.wipe_grant(token, command_id))

    async def declare(stream: Stream, request: IngestRequest) -> IngestAnswer:
        async def bearer() -> str:
            return (await tokens.get(ROLES[stream])).access_token

        uplink = HttpUplink(endpoint, bearer, clock=context.clock)
        try:
            return await uplink.ingest(request)
        finally:
            await uplink.aclose()

    return Means(
        settings=context.settings.own.wipe,
        memory=parts.memory,
        machine=Machine(context.run_dir / SOCKET, MACHINE_SECONDS),
        distribution=parts.distribution,
        cluster=WipeCluster(apart.client) if apart is not None else None,
        grant=grant,
        declare=declare,
        duties=DutyFile(parts.memory.directory),
        boot_id=context.machine.facts().boot_id,
        clock=context.clock,
        now_ms=parts.times.now_ms,
        log=context.log,
    )
