"""Upstream Kubernetes by kubeadm: the implementation of Distribution. Runs kubeadm, etcdctl and systemctl as root.

Each operation observes, lets a pure plan say what is left, and carries that out step by step. One operation at a
time on a node, whoever asks: a lock in the state folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec

from agents.core.errors import Rejected, Retryable
from agents.io.lock import Lock
from edge_commander.distribution.existing import Connect, ExistingCluster
from edge_commander.distribution.kubeadm import layout, manifest, plan, snapshots, upgrade, worker
from edge_commander.distribution.kubeadm.certs import client
from edge_commander.distribution.kubeadm.config import JOINERS, kubeconfig
from edge_commander.distribution.kubeadm.facts import EtcdMember, LocalFacts, MemberFacts, SeedFacts
from edge_commander.distribution.kubeadm.membership import may_leave, removal
from edge_commander.distribution.kubeadm.settings import KubeadmSettings
from edge_commander.distribution.kubeadm.steps import Marker, Step
from edge_commander.distribution.kubeadm.world import NodeWorld
from edge_commander.distribution.port import ClusterHealth, ClusterMember, ClusterPlan, Snapshot
from edge_commander.secrets.authority import service_account_public
from edge_commander.secrets.model import SiteSecrets

LEAVE_SECONDS = 30.0
NO_CLUSTER = "there is no cluster on this node yet"
SETTLE_SECONDS = 30.0
"""How long a half-made node that was just booted may take until its API server answers."""


class KubeadmCluster:
    """The `kubeadm` implementation of Distribution. `connect`: opens a Kubernetes client of a kubeconfig;
    `say`: hears each step before it is done (for the audit)."""

    name = "kubeadm"

    def __init__(
        self, settings: KubeadmSettings, connect: Connect, *, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self._settings = settings
        self._world = NodeWorld(settings, connect)
        self._observer = ExistingCluster(Path(layout.ADMIN), connect)
        self._say = say

    async def init(self, plan_: ClusterPlan) -> None:
        """See Distribution."""
        secrets = plan.checked(plan_)
        async with self._alone():
            facts = await self._local()
            formed = await self._formed(facts, secrets)
            key = service_account_public(secrets)
            await self._do(plan.initialise(plan_, facts, formed=formed, public_key=key, settings=self._settings))

    async def join(self, plan_: ClusterPlan) -> None:
        """See Distribution."""
        if plan_.access is not None:
            return await self._join_worker(plan_)
        secrets = plan.checked(plan_)
        async with self._alone():
            facts = await self._local()
            seed, formed = SeedFacts(), False
            if facts.marker is None or not facts.marker.done:
                plan.begun(plan_, facts, "join")
                await self._world.link_current(facts)
                seed = await self._seed(plan_, secrets)
                formed = _may_be_whole(plan_.node, seed) and await self._formed(facts, secrets)
                if seed.seed:
                    await self._world.through_seed(seed.seed, secrets)
            steps = plan.join(
                plan_, facts, seed, formed=formed, discovery=self._discovery(secrets),
                public_key=service_account_public(secrets), settings=self._in(_joins_in(facts, seed, self._settings)),
            )  # fmt: skip
            await self._do(steps)

    async def _join_worker(self, plan_: ClusterPlan) -> None:
        access = worker.checked(plan_)
        async with self._alone():
            facts = await self._local()
            seed = await self._world.through_worker(plan_.node, plan_.servers, access, self._say)
            named = await self._world.named(self._settings.endpoint_name)
            await self._do(worker.join(plan_, facts, seed, named=named, settings=self._settings))

    async def members(self) -> list[ClusterMember]:
        """See Distribution: its Nodes. Retryable also while this node has no cluster."""
        if not await self._world.exists(layout.ADMIN):
            raise Retryable(NO_CLUSTER)
        return await self._observer.members()

    async def health(self) -> ClusterHealth:
        """See Distribution. Rejected also where another cluster answers than the one this node is of."""
        if not await self._world.exists(layout.ADMIN):
            return ClusterHealth(api=False, problem=NO_CLUSTER)
        health = await self._observer.health()
        marker = self._world.marker()
        if health.api and marker is not None and marker.done and marker.role != "worker":
            self._world.through_own(marker.address)
            try:
                cluster = await self._world.api.cluster()
            except Retryable as error:
                return ClusterHealth(api=False, problem=str(error))
            if cluster != marker.cluster:
                raise Rejected(f"another cluster answers on this node than that of epoch {marker.epoch}")
        return health

    async def remove(self, member: str) -> None:
        """See Distribution."""
        async with self._alone():
            await self._do(removal(member, await self._cluster(await self._done())))

    async def snapshot(self, name: str) -> str:
        """See Distribution."""
        folder, keep = Path(self._settings.snapshots_dir), self._settings.snapshots_keep
        async with self._alone():
            marker = await self._done()
            nodes = await self._world.api.nodes()
            await asyncio.to_thread(snapshots.make_room, folder, Path(layout.ETCD_DATABASE))
            new = await asyncio.to_thread(snapshots.begin, folder, name)
            database = new / snapshots.DATABASE
            self._say(f"save a snapshot to {database}")
            await self._world.etcd.save(str(database))
            record = snapshots.Record(
                site=marker.site, epoch=marker.epoch, cluster=marker.cluster, version=marker.version, nodes=nodes,
                sha256=await asyncio.to_thread(snapshots.digest, database), taken=int(time.time()),
                revision=await self._world.revision(str(database)),
            )  # fmt: skip
            path = str(await asyncio.to_thread(snapshots.complete, new, record))
            for one in await asyncio.to_thread(snapshots.thin_out, folder, keep):
                self._say(f"removed {one}: {keep} newer ones are there")
            return path

    async def snapshots(self) -> list[Snapshot]:
        """See Distribution."""
        return await asyncio.to_thread(snapshots.whole, Path(self._settings.snapshots_dir))

    async def restore(self, snapshot: str, plan_: ClusterPlan) -> None:
        """See Distribution."""
        secrets = plan.checked(plan_)
        record = await asyncio.to_thread(snapshots.opened, Path(snapshot))
        if record.site != plan_.site:
            raise Rejected(f"is of {record.site}, not of {plan_.site}", file=snapshot)
        async with self._alone():
            facts = await self._local()
            self._world.through_own(plan_.address)
            version = upgrade.restored(record.version, self._settings.version, facts.versions)
            steps = plan.restore(
                plan_,
                facts,
                str(Path(snapshot, snapshots.DATABASE)),
                others=record.nodes,
                public_key=service_account_public(secrets),
                settings=self._in(version),
            )
            await self._do(steps)

    async def rotate(self, plan_: ClusterPlan | None = None) -> None:
        """See Distribution. The API server stays up, unless it is to know other keys of service accounts; what
        restarts is waited for."""
        async with self._alone():
            await self._done()
            revision, facts = f"rotated-{int(time.time())}", await self._local()
            if plan_ is None:
                await self._do(plan.rotate(facts, revision, self._settings))
                return
            keys = service_account_public(plan.checked(plan_))
            accepted = await self._world.read(layout.ACCEPTED) or ""
            await self._do(plan.rotate(facts, revision, self._settings, plan=plan_, keys=keys, accepted=accepted))

    async def upgrade(self, version: str) -> None:
        """See Distribution. The new version's programs and images must be on the node."""
        async with self._alone():
            marker = await self._done()
            _, runs = await self._world.api.node_ready(marker.node)
            facts, wanted = await self._local(), upgrade.text(version)
            steps = upgrade.steps(
                wanted,
                facts=facts,
                node_version=runs,
                cluster_version=await self._world.api.cluster_version(),
                plane=await self._plane(),
                etcd=wanted in facts.versions and await self._etcd_changes(wanted),
                settings=self._settings,
            )
            if steps:
                await self._etcd_whole()
            await self._do(steps)
            await self._world.mark(upgrade.marked(marker, version))
            if steps:
                await self._etcd_whole()

    async def stop(self) -> None:
        """See Distribution. Pods that are no part of the control plane run on until the node is reset or boots."""
        async with self._alone():
            await self._do(plan.stop(await self._local(marker_needed=False), self._settings))

    async def reset(self) -> None:
        """See Distribution. Where the cluster can do without this node, it takes itself out of etcd first; where it
        cannot be asked, or could not, it is left to the others to remove this one."""
        async with self._alone():
            facts = await self._local(marker_needed=False)
            if facts.marker is not None or facts.traces:
                await self._world.link_current(facts)
            await self._do(plan.reset(facts, member=await self._own_member(facts), settings=self._settings))

    async def aclose(self) -> None:
        """Closes connections."""
        await self._observer.aclose()

    async def _do(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._say(step.describe())
            await step.execute(self._world)

    async def _local(self, *, marker_needed: bool = True) -> LocalFacts:
        traces = [path for path in layout.TRACES if await self._world.exists(path)]
        current, versions = await self._world.versions(self._settings.programs)
        stopped = await self._world.exists(f"{self._settings.state_dir}/{layout.STOPPED}")
        stopped = stopped and not self._world.processes(layout.COMPONENTS)
        return LocalFacts(
            marker=self._world.marker(needed=marker_needed), traces=bool(traces), current=current, versions=versions,
            stopped=stopped,
        )  # fmt: skip

    async def _formed(self, facts: LocalFacts, secrets: SiteSecrets) -> bool:
        """Whether what was begun here is a whole server already: kubeadm marks the Node late. Waits a while for the
        API server where its manifest is there, as the node may just have booted."""
        marker = facts.marker
        if marker is None or marker.done or not facts.traces:
            return False
        await self._world.through_seed(marker.address, secrets)
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while await self._world.exists(layout.manifest("kube-apiserver")):
                    with contextlib.suppress(Retryable):
                        return await self._world.api.is_server(marker.node) and await self._votes(marker)
                    await asyncio.sleep(1)
        except TimeoutError:
            pass
        return False

    async def _votes(self, marker: Marker) -> bool:
        return any(one.name == marker.node and not one.learner for one in await self._world.etcd.members())

    async def _seed(self, plan_: ClusterPlan, secrets: SiteSecrets) -> SeedFacts:
        """The first server that answers, with what the cluster holds."""
        for address in plan_.servers:
            if address == plan_.address:
                continue
            await self._world.through_seed(address, secrets)
            try:
                nodes = await self._world.api.nodes()
                return SeedFacts(address, await self._world.etcd.members(), nodes, await self._cluster_version())
            except Retryable as error:
                self._say(f"{address} does not answer: {error}")
        return SeedFacts()

    async def _cluster_version(self) -> str:
        """Empty where the cluster does not say it: kubeadm will, if that matters to it."""
        try:
            return await self._world.api.cluster_version()
        except Rejected:
            return ""

    def _in(self, version: str) -> KubeadmSettings:
        return msgspec.structs.replace(self._settings, version=version)

    def _discovery(self, secrets: SiteSecrets) -> bytes:
        ours = client(secrets.cluster, "galley-joiner", JOINERS)
        server = f"https://{self._settings.endpoint_name}:{layout.API_PORT}"
        return kubeconfig(server, "galley-joiner", ca=secrets.cluster.cert, cert=ours.cert, key=ours.key)

    async def _done(self) -> Marker:
        """The marker of a whole member, whose own servers are asked from here on."""
        marker = self._world.marker()
        if marker is None or not marker.done:
            raise Rejected("this node is not a member of a cluster")
        if marker.role == "worker":
            raise Rejected("this node is a worker: a server must be asked")
        self._world.through_own(marker.address)
        return marker

    async def _cluster(self, marker: Marker) -> MemberFacts:
        members = await self._world.etcd.members()
        healthy = await self._world.etcd.healthy(members)
        return MemberFacts(marker.node, members, healthy, await self._world.api.nodes())

    async def _own_member(self, facts: LocalFacts) -> EtcdMember | None:
        if facts.marker is None or not facts.marker.done or facts.stopped or facts.marker.role == "worker":
            return None
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                cluster = await self._cluster(await self._done())
        except (TimeoutError, Retryable, Rejected) as error:
            self._say(f"the cluster is not asked: {error or 'it does not answer'}")
            return None
        if not may_leave(facts.marker.node, cluster):
            return None
        return next(one for one in cluster.members if one.name == facts.marker.node)

    async def _etcd_whole(self) -> None:
        """Before a node goes away, and before it counts as back: every member of etcd commits. Raises Retryable."""
        members = await self._world.etcd.members()
        healthy = await self._world.etcd.healthy(members)
        if ill := sorted({one.name for one in members} - set(healthy)):
            raise Retryable(f"etcd is not well on {', '.join(ill)}")

    async def _etcd_changes(self, version: str) -> bool:
        """Whether that version's kubeadm wants another etcd than the one that runs here."""
        kubeadm, file = f"{self._settings.programs}/{version}/kubeadm", layout.manifest("etcd")
        images = await self._world.run(
            kubeadm, "config", "images", "list", "--kubernetes-version", f"v{version}", seconds=30
        )
        tags = [one.rpartition(":")[2] for one in images.split() if "/etcd:" in one]
        return manifest.image_version(await self._world.read(file) or "", file) not in tags

    async def _plane(self) -> str:
        """The version of the control plane's manifests; empty when they differ or one is missing."""
        found = set()
        for component in layout.COMPONENTS[1:]:
            file = layout.manifest(component)
            text = await self._world.read(file)
            found.add(manifest.image_version(text, file) if text else "")
        return found.pop() if len(found) == 1 else ""

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        folder = Path(self._settings.state_dir)
        lock = Lock(folder / "lock")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not lock.take():
                raise Retryable(f"{lock.path}: another operation is under way on this node")
        except OSError as error:
            raise Retryable(f"{folder}: cannot be used: {error.strerror}") from None
        try:
            await self._world.bring_back()
            yield
        finally:
            lock.release()


def _joins_in(facts: LocalFacts, seed: SeedFacts, settings: KubeadmSettings) -> str:
    """The version to join in. What was begun goes on in its own."""
    if facts.marker is not None and facts.marker.version:
        return facts.marker.version
    return upgrade.joins_in(seed.version, settings.version, facts.versions)


def _may_be_whole(node: str, seed: SeedFacts) -> bool:
    """Whether the others, where they can be asked, know a voting member of that name: else no need to wait for it."""
    return not seed.seed or any(one.name == node and not one.learner for one in seed.members)
