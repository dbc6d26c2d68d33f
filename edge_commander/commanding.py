"""Builds what carries out commands: their loop, and the handler of each verb."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agents.contracts.command import Verb
from agents.core.ports import Outbox
from agents.io.tls import client_context
from agents.supervise.daemon import Context, Loop
from edge_commander.acts.build import Acts
from edge_commander.acts.upgrade import OsImage
from edge_commander.cloud import Cloud
from edge_commander.commands import CommandLoop, CommandParts
from edge_commander.diagnostics.build import build as build_diagnostics
from edge_commander.distribution.apart import Apart
from edge_commander.distribution.port import Distribution
from edge_commander.machine.client import SOCKET, Machine
from edge_commander.machine.wire import REBOOT
from edge_commander.memory import Memory
from edge_commander.operators import command_keys
from edge_commander.report import Reporter
from edge_commander.settings import CommanderSettings
from edge_commander.surroundings import Surroundings
from edge_commander.times import Times
from edge_commander.tokens import Tokens
from edge_commander.trust.keeper import NodeTrust
from edge_commander.verbs import handlers
from edge_commander.wiping.entry import Wiping

if TYPE_CHECKING:
    from edge_commander.formation.assemble import Formation  # only a node that forms its cluster pays for it
    from edge_commander.update.updater import Updater


@dataclass(frozen=True)
class Commanding:
    """What it is built of."""

    context: Context[CommanderSettings]
    memory: Memory
    outbox: Outbox
    reporter: Reporter
    times: Times
    trust: NodeTrust
    distribution: Distribution
    formation: Formation | None
    wiping: Wiping
    surroundings: Surroundings

    def loops(self, cloud: Cloud, tokens: Tokens) -> tuple[CommandLoop, list[Loop]]:
        """The loop of commands, and those that go with it. Raises Retryable."""
        context, updater = self.context, self._updater()
        acts = self._acts(updater)
        context.stack.push_async_callback(acts.aclose)
        diagnostics, uploads = build_diagnostics(context, cloud, tokens)
        more = {**acts.handlers(), **self.wiping.handlers, Verb.COLLECT_DIAGNOSTICS: diagnostics}
        parts = CommandParts(
            cloud=cloud,
            tokens=tokens,
            memory=self.memory,
            outbox=self.outbox,
            reporter=self.reporter,
            times=self.times,
            clock=context.clock,
            handlers=handlers(context.run_dir, more),
            keys=lambda: command_keys(self.trust.operator_keys(), self.memory.site, self.trust.threshold),
            seconds=context.settings.own.command_seconds,
            uniform=random.uniform,
            log=context.log,
        )
        updates = []
        if updater is not None:
            self.surroundings.update = updater.shown
            updates = [Loop("update", updater.run)]
        return CommandLoop(parts), [Loop("wiping", self.wiping.keep), Loop("acts", acts.keep), *uploads, *updates]

    def _updater(self) -> Updater | None:
        """Only a machine that runs from one of two roots pays for it."""
        own, endpoint = self.context.settings.own, self.context.settings.endpoint
        if endpoint is None:
            return None
        from edge_commander.update import slots

        if not slots.running(own.update):
            return None
        from edge_commander.update.build import build

        return build(
            self.context,
            self.memory,
            self.outbox,
            self.times,
            tls=client_context(endpoint),
            operators=lambda: self.trust.operators,
            apart=self.distribution if isinstance(self.distribution, Apart) else None,
        )

    def _acts(self, image: OsImage | None) -> Acts:
        context = self.context
        return Acts(
            memory=self.memory,
            times=self.times,
            clock=context.clock,
            log=context.log,
            distribution=self.distribution,
            apart=self.distribution if isinstance(self.distribution, Apart) else None,
            formation=self.formation,
            boot=lambda: context.machine.facts().boot_id,
            reboot=lambda: Machine(context.run_dir / SOCKET).ask(REBOOT),
            drain_seconds=context.settings.own.upgrades.drain_seconds,
            image=image,
            second_root=Path(context.settings.own.update.root_b),
        )
