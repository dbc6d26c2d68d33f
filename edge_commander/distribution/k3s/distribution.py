"""The `k3s` implementation of Distribution: observes, plans, executes.

What is done when is decided in plan, removal and versions; host, api and executor touch the world.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from agents.core.errors import Rejected, Retryable
from agents.core.ports import Clock
from agents.io.state import StateFile
from edge_commander.distribution.existing import ExistingCluster
from edge_commander.distribution.k3s import layout, reference, removal, snapshots, versions
from edge_commander.distribution.k3s.alone import Alone
from edge_commander.distribution.k3s.api import Api, Connect, Etcd
from edge_commander.distribution.k3s.executor import Executor
from edge_commander.distribution.k3s.facts import Facts, Marker, Role
from edge_commander.distribution.k3s.host import SECRET_FILES, Host
from edge_commander.distribution.k3s.plan import (
    member,
    plan_init,
    plan_join,
    plan_reset,
    plan_restore,
    plan_rotate,
    plan_stop,
)
from edge_commander.distribution.k3s.settings import K3sSettings
from edge_commander.distribution.port import (
    AUTO,
    ClusterHealth,
    ClusterMember,
    ClusterPlan,
    Operation,
    Snapshot,
    Unsupported,
)
from edge_commander.secrets.model import SiteSecrets

PROBE_SECONDS = 2.0
VERSION_SECONDS = 20.0
Probe = Callable[[str], Awaitable[bool]]
"""Whether a server takes connections at its address."""


async def probe(address: str) -> bool:
    """Opens a connection to k3s' port and closes it."""
    port = int(reference.name("supervisor-port"))
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), PROBE_SECONDS)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


class K3s:
    """k3s with embedded etcd on this node. `marker`: a file on `ident`. One operation that changes something at a
    time; needs root. `told` gets a line for each step."""

    name = "k3s"

    def __init__(
        self,
        settings: K3sSettings,
        marker: Path,
        connect: Connect,
        clock: Clock,
        *,
        host: Host | None = None,
        etcd: Etcd | None = None,
        probe: Probe = probe,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._host = host or Host(settings)
        self._marker = StateFile(marker, Marker)
        self._kubeconfig = self._host.place(reference.path("kubeconfig"))
        self._cluster = ExistingCluster(self._kubeconfig, connect)
        self._api = Api(self._kubeconfig, connect)
        self._etcd = etcd or Etcd(self._host.place)
        self._probe = probe
        self._executor = Executor(self._host, self._marker, self._api, self._etcd, clock, told=told)
        self._alone = Alone(marker.with_suffix(".lock"))

    async def init(self, plan: ClusterPlan) -> None:
        """See Distribution."""
        async with self._alone():
            self._intact(Operation.INIT)
            await self._executor.run(plan_init(await self._facts(), plan, self._settings))

    async def join(self, plan: ClusterPlan) -> None:
        """See Distribution. Workers are not made: `k3s agent` joins by a token, and the site has only the servers'."""
        if plan.access is not None:
            raise Unsupported(self.name, Operation.JOIN, "workers are made with kubeadm alone")
        async with self._alone():
            answers = await asyncio.gather(*(self._probe(server) for server in plan.servers))
            answering = tuple(server for server, yes in zip(plan.servers, answers, strict=True) if yes)
            await self._executor.run(plan_join(await self._facts(answering), plan, self._settings))

    async def members(self) -> list[ClusterMember]:
        """See Distribution."""
        if not self._kubeconfig.is_file():
            raise Retryable("k3s has no cluster on this node yet")
        return await self._cluster.members()

    async def health(self) -> ClusterHealth:
        """See Distribution. What is asked needs a quorum of etcd."""
        if not self._kubeconfig.is_file():
            return ClusterHealth(api=False, problem="k3s has no cluster on this node yet")
        return await self._cluster.health()

    async def remove(self, member: str) -> None:
        """See Distribution. Raises Rejected when it would cost the quorum, and for this node itself."""
        async with self._alone():
            facts = await self._facts()
            listed = await self._api.get(removal.NODES)
            seen = removal.Membership(
                nodes=list((listed or {}).get("items") or ()),
                etcd=await self._etcd.members(),
                password=await self._api.get(removal.password_path(member)) is not None,
            )
            await self._executor.run(removal.plan_removal(facts.marker.node, member, seen, self._settings))

    async def snapshot(self, name: str) -> str:
        """See Distribution: the path is that of etcd's snapshot; its secrets lie beside it. One of that name that is
        whole is returned as it is."""
        snapshots.check_name(name)
        async with self._alone():
            facts = await self._facts()
            member(facts, Operation.SNAPSHOT)
            found = await self._whole(facts, name)
            if found is None:
                await asyncio.to_thread(snapshots.make_room, self._host, self._settings)
                words = (*reference.command("snapshot-save"), *reference.command("snapshot-name"), name)
                await self._host.run("k3s", words, self._settings.command_seconds)
                found = await self._whole(facts, name)
            if found is None:
                raise Retryable(f"k3s saved no complete snapshot called {name}")
            path, sha256 = found
            content = {file: data for file in SECRET_FILES if (data := self._host.read(file)) is not None}
            snapshots.keep(self._host, path, sha256, layout.collect(facts.marker, content))
            if name.startswith(AUTO):
                await asyncio.to_thread(snapshots.thin_out, self._host, self._settings)
            return path

    async def snapshots(self) -> list[Snapshot]:
        """See Distribution: those that have their secrets beside them."""
        return await asyncio.to_thread(snapshots.listed, self._host, self._settings)

    async def restore(self, snapshot: str, plan: ClusterPlan) -> None:
        """See Distribution. `plan.secrets` may be None: those of the snapshot are used, in the plan's epoch. Others
        than the snapshot's are Rejected: its cluster has its authorities and its token inside. A snapshot that k3s
        took by itself has none beside it: the plan must bring them."""
        async with self._alone():
            self._intact(Operation.RESTORE)
            facts = await self._facts()
            if not (facts.marker.role is Role.MEMBER and facts.marker.epoch == plan.epoch):
                plan = replace(plan, secrets=await asyncio.to_thread(self._secrets_for, snapshot, plan))
            await self._executor.run(plan_restore(facts, snapshot, plan, self._settings))

    def secrets_of(self, snapshot: str) -> SiteSecrets:
        """The secrets of the cluster that a snapshot was made of, in its epoch. Blocking: reads the whole snapshot.

        Raises Rejected when the snapshot or its secrets are missing or damaged."""
        return snapshots.checked(self._host, snapshot)

    async def rotate(self, plan: ClusterPlan | None = None) -> None:
        """See Distribution. k3s is stopped meanwhile; pods run on. Leaf certificates alone: nothing of a plan's secrets
        is taken, as with k3s no generation has other ones (docs/decisions/0048)."""
        async with self._alone():
            await self._executor.run(plan_rotate(await self._facts(), self._settings))

    async def upgrade(self, version: str) -> None:
        """See Distribution. The program of that version is expected in `upgrade_dir`."""
        async with self._alone():
            path = versions.staged(version, self._settings)
            facts = await self._facts(archives=path.rpartition("/")[0])
            found = versions.Versions(
                installed=await self._version(self._settings.binary),
                staged=await self._version(path),
                running=await self._running(facts) if facts.active else "",
            )
            await self._executor.run(versions.plan_upgrade(facts, found, version, self._settings))

    async def stop(self) -> None:
        """See Distribution."""
        async with self._alone():
            await self._api.aclose()
            await self._cluster.aclose()
            facts = await self._host.look(self._load(), None)
            await self._executor.run(plan_stop(facts, self._settings))

    async def reset(self) -> None:
        """See Distribution. What stays is the marker's word which epochs were begun here."""
        async with self._alone():
            await self._api.aclose()
            await self._cluster.aclose()
            facts = await self._host.look(self._load(), None)
            await self._executor.run(plan_reset(facts, self._settings))

    async def aclose(self) -> None:
        """Closes connections."""
        await self._api.aclose()
        await self._cluster.aclose()

    async def _facts(self, answering: tuple[str, ...] = (), archives: str | None = None) -> Facts:
        """The facts; a reset that was begun is ended first."""
        archives = archives or self._settings.images_dir
        facts = await self._host.look(self._load(), archives, answering)
        if facts.marker.role is Role.RESETTING:
            await self._executor.run(plan_reset(facts, self._settings))
            facts = await self._host.look(self._load(), archives, answering)
        return facts

    def _load(self) -> Marker:
        return self._marker.load() or Marker()

    def _intact(self, operation: Operation) -> None:
        """Without the marker's word nothing is begun: it may have said that a cluster was."""
        self._load()
        damaged = sorted(self._marker.path.parent.glob(f"{self._marker.path.name}.corrupt-*"))
        if damaged:
            raise Rejected(f"is damaged: this node does not {operation.value}, it may only join", file=str(damaged[0]))

    async def _whole(self, facts: Facts, name: str) -> tuple[str, str] | None:
        for path in snapshots.candidates(self._host, self._settings, name, facts.marker.node):
            with contextlib.suppress(Rejected):
                return path, await asyncio.to_thread(snapshots.whole, self._host.place(path))
        return None

    def _secrets_for(self, snapshot: str, plan: ClusterPlan) -> SiteSecrets:
        if plan.secrets is not None and not snapshots.has_companion(self._host, snapshot):
            snapshots.whole(self._host.place(snapshot))
            return plan.secrets
        kept = self.secrets_of(snapshot)
        if kept.site != plan.site:
            raise Rejected(f"is of {kept.site}, not of {plan.site}", file=snapshot)
        if plan.secrets is not None and (other := _names(layout.differences(plan.secrets, kept))):
            raise Rejected(f"its cluster has other secrets than the plan: {other}", file=snapshot)
        return msgspec.structs.replace(kept, epoch=plan.epoch)

    async def _running(self, facts: Facts) -> str:
        node = await self._api.get(f"{removal.NODES}/{facts.marker.node}")
        info = ((node or {}).get("status") or {}).get("nodeInfo") or {}
        return str(info.get("kubeletVersion", ""))

    async def _version(self, program: str) -> str:
        """What the program at a path says of itself; empty when it is not there."""
        return versions.said(await self._host.run_at(program, reference.command("version"), VERSION_SECONDS) or "")


def _names(paths: Iterable[str]) -> str:
    return ", ".join(path.rpartition("/")[2] for path in paths)
