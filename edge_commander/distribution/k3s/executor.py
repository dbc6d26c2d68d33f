"""Does the steps of a plan, in order, and decides nothing. Touches files, programs, the API server and etcd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from agents.core.errors import Rejected, Retryable
from agents.core.ports import Clock
from agents.io.state import StateFile
from edge_commander.distribution.k3s import reference
from edge_commander.distribution.k3s.api import Api, Etcd
from edge_commander.distribution.k3s.facts import Marker
from edge_commander.distribution.k3s.host import Host
from edge_commander.distribution.k3s.removal import NODES, annotation, is_ready
from edge_commander.distribution.k3s.steps import (
    AskRemoval,
    AwaitReady,
    CopyFile,
    DeleteObject,
    MakeDirectory,
    Record,
    RemoveEtcdMember,
    RemoveFile,
    RemoveTree,
    Run,
    Step,
    WriteFile,
)

POLL_SECONDS = 2.0


class Executor:
    """`told` gets each step's description before it is done, for the audit."""

    def __init__(
        self,
        host: Host,
        marker: StateFile[Marker],
        api: Api,
        etcd: Etcd,
        clock: Clock,
        *,
        told: Callable[[str], None],
    ) -> None:
        self.host = host
        self.api = api
        self.etcd = etcd
        self._marker = marker
        self._clock = clock
        self._told = told

    async def run(self, steps: Iterable[Step]) -> None:
        """Does all steps, or raises Retryable or Rejected at the first that fails: those behind it are not done."""
        for step in steps:
            self._told(step.describe())
            await self._do(step)

    async def _do(self, step: Step) -> None:
        match step:
            case Record(marker):
                self._marker.save(marker)
            case WriteFile(file):
                self.host.write(file)
            case RemoveFile(path):
                self.host.remove(path)
            case MakeDirectory(path):
                self.host.make_directory(path)
            case CopyFile(source, target, mode):
                await asyncio.to_thread(self.host.copy, source, target, mode)
            case RemoveTree(path):
                await asyncio.to_thread(self.host.remove_tree, path)
            case Run(program, words, seconds):
                await self.host.run(program, words, seconds)
            case AwaitReady():
                await self._ready(step)
            case AskRemoval():
                await self._ask_removal(step)
            case RemoveEtcdMember(id, _):
                await self.etcd.remove(id)
            case DeleteObject(path):
                await self.api.delete(path)

    async def _ready(self, step: AwaitReady) -> None:
        until = self._clock.monotonic() + step.seconds
        while True:
            try:
                node = await self.api.get(f"{NODES}/{step.node}")
                if node is not None and is_ready(node, step.version, network=step.network):
                    return
                why = "there is no such Node" if node is None else "it is not yet"
            except (Retryable, Rejected) as error:  # a server that starts answers so for a while
                why = str(error)
            if self._clock.monotonic() >= until:
                raise Retryable(f"gave up after {step.seconds:g} s to {step.describe()}: {why}")
            await self._clock.sleep(POLL_SECONDS)

    async def _ask_removal(self, step: AskRemoval) -> None:
        path = f"{NODES}/{step.node}"
        await self.api.annotate(path, {reference.name("etcd-remove"): "true"})
        until = self._clock.monotonic() + step.seconds
        while True:
            node = await self.api.get(path)
            if node is None or annotation(node, "etcd-removed"):
                return
            if self._clock.monotonic() >= until:
                raise Retryable(f"k3s did not take the etcd member of {step.node} out within {step.seconds:g} s")
            await self._clock.sleep(POLL_SECONDS)
