"""Builds what updates the image, on a machine that runs from one of two roots, out of a daemon's context."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from pathlib import Path

from agents.contracts.command import SignedCommand
from agents.contracts.messages import NodeState
from agents.core.operators import Operators
from agents.core.ports import Outbox
from agents.supervise.daemon import Context
from edge_commander.acts.cluster import ActsCluster
from edge_commander.distribution.apart import Apart
from edge_commander.forming import own_name, site_names
from edge_commander.machine.client import SOCKET, Machine
from edge_commander.machine.wire import REBOOT, UPDATE
from edge_commander.memory import Memory
from edge_commander.settings import CommanderSettings, UpdateSettings
from edge_commander.times import Times
from edge_commander.update import slots
from edge_commander.update.fetch import Fetcher
from edge_commander.update.gate import COUNTED
from edge_commander.update.store import FOLDER, UpdateStore
from edge_commander.update.turns import Alone, InTurn
from edge_commander.update.updater import Parts, Turns, Updater


class Image:
    """The one that runs."""

    def __init__(self, settings: UpdateSettings) -> None:
        self._settings = settings

    def slot(self) -> str:
        """See updater.Image."""
        return slots.running(self._settings)

    def version(self) -> str:
        """See updater.Image."""
        return slots.version()

    def trial(self) -> bool:
        """See updater.Image."""
        return COUNTED.exists() and slots.on_trial(self._settings, self.slot(), self.version())


class Root:
    """The machine's root half."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def install(self, signed: SignedCommand) -> None:
        """See updater.Root."""
        await self._machine.ask(UPDATE, command=signed)

    async def reboot(self) -> None:
        """See updater.Root."""
        await self._machine.ask(REBOOT)


def build(
    context: Context[CommanderSettings],
    memory: Memory,
    outbox: Outbox,
    times: Times,
    *,
    tls: ssl.SSLContext,
    operators: Callable[[], Operators | None],
    apart: Apart | None,
) -> Updater | None:
    """None on a machine of another make. Raises Retryable."""
    own = context.settings.own.update
    if not slots.running(own):
        return None
    folder = context.state_dir / FOLDER
    store = UpdateStore(Path(memory.directory), folder)

    def me() -> str:
        return own_name(memory.site, memory.record.node or "") or ""

    def command() -> str:
        return store.record.id if store.record is not None else ""

    def signed(command_id: str) -> SignedCommand | None:
        taken = memory.ledger.current
        return taken.signed if taken is not None and taken.command.id == command_id else None

    fetcher = Fetcher(folder, tls, context.clock, rate=own.bytes_per_second, endpoint=context.settings.endpoint)
    context.stack.push_async_callback(fetcher.aclose)
    turns: Turns = Alone()
    if apart is not None:
        cluster = ActsCluster(apart, apart.client, times.now_ms, lambda: site_names(memory.site))
        turns = InTurn(cluster, me, command)
    return Updater(
        Parts(
            store=store,
            fetcher=fetcher,
            image=Image(own),
            root=Root(Machine(context.run_dir / SOCKET)),
            turns=turns,
            operators=operators,
            signed=signed,
            member=lambda: memory.record.state is NodeState.READY,
            boot=context.machine.facts().boot_id,
            outbox=outbox,
            clock=context.clock,
            uniform=random.uniform,
            log=context.log,
        )
    )
