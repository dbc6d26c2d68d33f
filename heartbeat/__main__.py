"""The `heartbeat` command: builds the adapters and hands the loops to the supervisor."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.contracts.ids import Stream, node_id
from agents.core.grid import spread
from agents.io.identity import SocketIdentity
from agents.io.lock import Lock
from agents.io.outbox import SqliteOutbox
from agents.io.uplink import HttpUplink, LogOnlySender, Sender
from agents.supervise.daemon import Context, DaemonSpec, Loop, run_daemon
from agents.supervise.port import HealthPort
from heartbeat.loop import Heart, Post, Sending, World
from heartbeat.port import DutyPort
from heartbeat.post import LOCK, MARK, MarkFile
from heartbeat.probe import Probe
from heartbeat.settings import HeartbeatSettings


class _Line:
    """What the sender last said of the line."""

    def __init__(self, context: Context[HeartbeatSettings]) -> None:
        self.ok: bool | None = None
        self._health = context.health
        self._gauge = context.metrics.gauge("galley_uplink_ok", "1 while batches reach the cloud.")

    def say(self, ok: bool, text: str) -> None:
        """An offline node is no broken heartbeat, so the component stays well; text and gauge tell."""
        self.ok = ok
        self._gauge.set(ok)
        self._health.set("uplink", True, text if ok else f"queues: {text}")


async def build(context: Context[HeartbeatSettings]) -> Sequence[Loop]:
    """Local work alone: no network, no socket is needed for READY. Raises Rejected for a machine without identity."""
    own = context.settings.own
    machine = context.machine.facts()
    socket = own.identity_socket or str(context.run_dir / "identity.sock")
    line = _Line(context)

    async def open_outbox() -> Post:
        return await SqliteOutbox.open(
            context.state_dir / "outbox.db",
            Stream.HEARTBEAT,
            context.machine.facts().boot_id,
            context.clock,
            max_rows=own.outbox_rows,
            max_bytes=own.outbox_bytes,
        )

    heart = Heart(
        own,
        spread(node_id(machine.hardware_id), own.interval_seconds),
        World(
            clock=context.clock,
            machine=context.machine,
            eyes=Probe(own, context.machine, _disks(own, context.state_dir), socket),
            lock=Lock(context.state_dir / LOCK),
            mark=MarkFile(context.state_dir / MARK),
            open_outbox=open_outbox,
            sender=_sender(context, socket, line),
            reached=lambda: line.ok if context.settings.endpoint is not None else None,
            log=context.log,
            health=context.health,
            metrics=context.metrics,
        ),
    )
    context.stack.push_async_callback(heart.stop)
    await heart.turn()
    loops = [
        Loop("duty", heart.duty),
        Loop("beat", heart.beat),
        Loop("facts", heart.facts),
        Loop("send", heart.send, patient=True),
    ]
    if own.own_port.port:
        port = DutyPort(
            HealthPort(own.own_port, context.health, context.metrics), heart.on_duty, heart.off_duty, context.log
        )
        loops.append(Loop("health port", port.run))
    return loops


def _disks(own: HeartbeatSettings, state_dir: Path) -> list[str]:
    return list(dict.fromkeys([*own.disks, str(state_dir)]))


def _sender(context: Context[HeartbeatSettings], socket: str, line: _Line) -> Callable[[Post], Sending]:
    endpoint = context.settings.endpoint
    if endpoint is None:
        return lambda post: LogOnlySender(post, log=context.log, say=line.say)
    identity = SocketIdentity(socket, clock=context.clock)
    uplink = HttpUplink(endpoint, identity.token, refused=identity.refused, clock=context.clock)
    context.stack.push_async_callback(identity.aclose)
    context.stack.push_async_callback(uplink.aclose)
    return lambda post: Sender(post, uplink, log=context.log, say=line.say)


SPEC = DaemonSpec(name="heartbeat", section="heartbeat", settings=HeartbeatSettings, build=build)


def main() -> int:
    """Entry point."""
    return run_daemon(SPEC)


if __name__ == "__main__":
    sys.exit(main())
