"""The World of the steps: this node's files and programs, its etcd and API, and its marker. Touches all of these."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from agents.core.errors import Rejected, Retryable
from agents.io.state import StateFile
from edge_commander.distribution.existing import Connect
from edge_commander.distribution.kubeadm import layout, manifest, worker
from edge_commander.distribution.kubeadm.api import Api
from edge_commander.distribution.kubeadm.certs import client
from edge_commander.distribution.kubeadm.config import hosts, kubeconfig, named
from edge_commander.distribution.kubeadm.etcd import Access, Etcd
from edge_commander.distribution.kubeadm.facts import LocalFacts
from edge_commander.distribution.kubeadm.machine import Machine
from edge_commander.distribution.kubeadm.settings import KubeadmSettings
from edge_commander.distribution.kubeadm.steps import Marker
from edge_commander.distribution.port import NodeAccess
from edge_commander.secrets.model import SiteSecrets

POLL = 0.5
NOT_YET = (401, 403)
"""An API server that was just started may answer so until it has read its accounts and roles."""
MASTERS = "system:masters"
STOP_SECONDS = 15.0
"""How long a part of the control plane may take to end before it is killed: etcd loses nothing by that."""


class NodeWorld(Machine):
    """One node. `connect`: opens a Kubernetes client of a kubeconfig. Before a step that asks the cluster, one of
    `through_own` and `through_seed` says by which server."""

    def __init__(self, settings: KubeadmSettings, connect: Connect) -> None:
        self.settings = settings
        self._connect = connect
        self._marker = StateFile(Path(settings.state_dir, "cluster.json"), Marker)
        self._api: Api | None = None
        self._etcd: Etcd | None = None

    def marker(self, *, needed: bool = True) -> Marker | None:
        """What is kept. Rejected when it was corrupt: then a person decides. For a reset it is not `needed`."""
        found = self._marker.load()
        if found is None and needed and self._marker.quarantined:
            raise Rejected("was corrupt and put aside; reset this node", file=str(self._marker.path))
        return found

    @property
    def api(self) -> Api:
        """The API server that was chosen."""
        if self._api is None:
            raise Retryable("no API server is known")
        return self._api

    @property
    def etcd(self) -> Etcd:
        """The etcd that was chosen."""
        if self._etcd is None:
            raise Retryable("no etcd is known")
        return self._etcd

    async def link_current(self, facts: LocalFacts) -> None:
        """Makes sure that there is a version in use: a blank node asks the cluster with its programs already."""
        if facts.current in facts.versions:
            return
        if self.settings.version not in facts.versions:
            raise Rejected(
                f"Kubernetes' programs are not on this node: {self.settings.programs}/{self.settings.version}"
            )
        await self.link(f"{self.settings.programs}/current", self.settings.version)

    def through_own(self, address: str) -> None:
        """Asks this node's own servers, with the certificates that kubeadm made."""
        self._api = Api(Path(layout.ADMIN), self._connect)
        files = (f"{layout.PKI}/etcd/ca.crt", f"{layout.PKI}/apiserver-etcd-client.crt",
                 f"{layout.PKI}/apiserver-etcd-client.key")  # fmt: skip
        self._etcd = self._etcd_at(address, *files)

    async def through_seed(self, address: str, secrets: SiteSecrets) -> None:
        """Asks another server, or a half-made one of our own, with certificates made for this from the secrets."""
        run_dir = self.settings.run_dir
        admin = client(secrets.cluster, "galley", MASTERS)
        config = kubeconfig(
            f"https://{address}:{layout.API_PORT}", "galley", ca=secrets.cluster.cert, cert=admin.cert, key=admin.key
        )
        await self.write(f"{run_dir}/admin.conf", config, 0o600)
        ours = client(secrets.etcd, "galley")
        names = {"etcd-ca.crt": secrets.etcd.cert, "etcd.crt": ours.cert, "etcd.key": ours.key}
        for name, text in names.items():
            await self.write(f"{run_dir}/{name}", text.encode(), 0o600)
        self._api = Api(Path(run_dir, "admin.conf"), self._connect)
        self._etcd = self._etcd_at(address, *(f"{run_dir}/{name}" for name in names))

    async def through_worker(
        self, node: str, servers: Sequence[str], access: NodeAccess, say: Callable[[str], None]
    ) -> str:
        """Asks the first of `servers` that answers, as the node that a worker is or is to be; its address, empty for
        none. One whose etcd has no quorum does not answer."""
        file = Path(self.settings.run_dir, "worker.conf")
        for address in servers:
            await self.write(str(file), worker.kubeconfig(address, access), 0o600)
            self._api = Api(file, self._connect)
            try:
                await self._api.node_ready(node)
            except Retryable as error:
                say(f"{address} does not answer: {error}")
            else:
                return address
        return ""

    async def named(self, name: str) -> str:
        """The address that the hosts file has for a name."""
        return named(await self.read(layout.HOSTS) or "", name)

    def _etcd_at(self, address: str, ca: str, cert: str, key: str) -> Etcd:
        access = Access([f"https://{address}:{layout.ETCD_PORT}"], ca, cert, key)
        return Etcd(f"{self.settings.programs}/current/etcdctl", self.run, access)

    async def name_address(self, name: str, address: str) -> None:
        """See World."""
        text = await self.read(layout.HOSTS) or ""
        wanted = hosts(text, name, address)
        if wanted != text:
            await self.write(layout.HOSTS, wanted.encode(), 0o644)

    async def make_etcd(self, node: str, address: str, token: str) -> None:
        """See World. It listens on sockets in the run folder alone, and ends as soon as it has committed."""
        run_dir = self.settings.run_dir
        await asyncio.to_thread(Path(run_dir).mkdir, mode=0o700, parents=True, exist_ok=True)
        peer, client_url = f"https://{address}:{layout.PEER_PORT}", f"unix://{run_dir}/etcd.sock"
        arguments = (
            "--name", node, "--data-dir", layout.ETCD_DATA, "--initial-cluster", f"{node}={peer}",
            "--initial-advertise-peer-urls", peer, "--initial-cluster-token", token,
            "--listen-peer-urls", f"unix://{run_dir}/etcd-peer.sock", "--listen-client-urls", client_url,
            "--advertise-client-urls", f"https://{address}:{layout.ETCD_PORT}", "--log-level", "error",
        )  # fmt: skip
        programs = f"{self.settings.programs}/current"
        asked = ("--endpoints", client_url, "--command-timeout=2s", "endpoint", "health")

        async def committed() -> bool:
            if process.returncode is not None:
                raise Rejected(f"etcd ended with status {process.returncode} before it had data", file=programs)
            await self.run(f"{programs}/etcdctl", *asked, seconds=10)
            return True

        async with self.running(f"{programs}/etcd", *arguments) as process:
            await self._until(committed, "etcd does not start")

    async def restart_components(self, components: Sequence[str], revision: str) -> None:
        """See World."""
        ended = await asyncio.gather(*(self._restart(one, revision) for one in components), return_exceptions=True)
        for error in filter(None, ended):
            raise error  # the first; each of the others came to its own end before

    async def _restart(self, component: str, revision: str) -> None:
        """The old pod must be gone first: with its port still taken the new one would crash and back off."""
        file, held = layout.manifest(component), layout.held_back(component)
        text = await self.read(file)
        if text is None:
            raise Rejected("is not there", file=file)
        wanted = manifest.changed(text, revision, file)
        if wanted == text:
            return
        await self.write(held, wanted.encode(), 0o600)
        await self.remove(file)
        port = layout.PORTS[component]

        async def free() -> bool:
            return not await self.listens(port)

        await self._until(free, f"{component} does not end")
        await self.rename(held, file)
        await self._until(lambda: self.listens(port), f"{component} does not start")
        if marker := self.marker():
            self.through_own(marker.address)
            await self._until(self.api.cluster, f"the API server of {marker.node} is not ready")

    async def put_away(self) -> None:
        """See World."""
        for component in layout.COMPONENTS:
            await self.rename(layout.manifest(component), layout.put_away(component))

    async def end_processes(self) -> None:
        """See World. By name: the kubelet, stopped, cannot be asked, and takes down only what it has started itself."""
        await self.end(layout.COMPONENTS, STOP_SECONDS)

    async def revision(self, database: str) -> int:
        """Of the last change in a snapshot's database. Raises Retryable where it is none."""
        etcdutl = f"{self.settings.programs}/current/etcdutl"
        said = await self.run(etcdutl, "snapshot", "status", database, "-w", "json", seconds=120)
        try:
            return int(msgspec.json.decode(said)["revision"])
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
            raise Retryable(f"etcdutl: the status of {database} is malformed") from None

    async def free_turn(self) -> None:
        """See World."""

        async def deleted() -> bool:
            await self.api.delete(layout.JOIN_LEASE)
            return True

        await self._until(deleted, "the Lease galley-join is not deleted")

    async def bring_back(self) -> None:
        """Ends a restart that a crash cut short."""
        for component in layout.COMPONENTS:
            if await self.exists(layout.held_back(component)) and not await self.exists(layout.manifest(component)):
                await self.rename(layout.held_back(component), layout.manifest(component))

    async def mark(self, marker: Marker | None) -> None:
        """See World."""
        if marker is None:
            await self.remove(str(self._marker.path))
            return
        await asyncio.to_thread(self._marker.path.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(self._marker.save, marker)

    async def finish(self, marker: Marker) -> None:
        """See World."""
        if marker.role == "worker":  # it has no API server, and may not ask for the namespace
            await self.mark(msgspec.structs.replace(marker, done=True))
            return
        self.through_own(marker.address)
        cluster = await self._until(self.api.cluster, f"the API server of {marker.node} is not ready")
        await self.mark(msgspec.structs.replace(marker, done=True, cluster=str(cluster)))

    async def wait_node(self, node: str, version: str) -> None:
        """See World."""

        async def ready() -> bool:
            is_ready, runs = await self.api.node_ready(node)
            return is_ready and version in ("", runs)

        await self._until(ready, f"{node} is not Ready{' in ' + version if version else ''}")

    async def remove_etcd_member(self, member: int) -> None:
        """See World."""
        await self.etcd.remove(member)

    async def delete_node(self, node: str) -> None:
        """See World."""

        async def deleted() -> bool:
            await self.api.delete_node(node)
            return True

        await self._until(deleted, f"Node {node} is not deleted")

    async def _until(self, ask: Callable[[], Awaitable[object]], problem: str) -> object:
        """Asks until the answer is true; Retryable with the last cause when that takes too long."""
        cause = ""
        try:
            async with asyncio.timeout(self.settings.api_seconds):
                while True:
                    try:
                        if answer := await ask():
                            return answer
                        cause = ""
                    except Retryable as error:
                        cause = f": {error}"
                    except Rejected as error:
                        if getattr(error, "status", 0) not in NOT_YET:
                            raise
                        cause = f": {error}"
                    await asyncio.sleep(POLL)
        except TimeoutError:
            raise Retryable(f"{problem} after {self.settings.api_seconds:.0f} s{cause}") from None
