"""Restaurants on one machine: an endpoint, clusters, Git and MQTT servers, and the nodes' daemons. Demo and tests.

Everything lives below one folder and ends with the block:

    async with Town.open(folder, [RestaurantPlan("store-00001")]) as town:
        await town.wait_healthy(town.restaurants[0])
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import yaml

from tests.site_in_a_box import kube_build
from tests.site_in_a_box.atlas_repo import AtlasRepo
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.gitserver import GitServer
from tests.site_in_a_box.kube_etcd import Etcd
from tests.site_in_a_box.kube_site import KubeSite
from tests.site_in_a_box.mosquitto import Mosquitto
from tests.site_in_a_box.node import BIN, Cloud, Node, NodePlan

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "atlas"
VESSEL_USER = "system:serviceaccount:galley-system:vessel"
VESSEL_GROUPS = ("system:serviceaccounts", "system:serviceaccounts:galley-system")
NOTICE = "Pods of these sites are played by KWOK: objects and controllers are real, containers are not."
LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class RestaurantPlan:
    """One site. `labels`: provider, region and so on. `kubeconfig`: an existing cluster instead of one made here.

    `atlas`: the folder its repository is filled with. `samples`: a folder of manifests for more apps.
    """

    site: str
    nodes: int = 3
    labels: dict[str, str] = field(default_factory=dict)
    kubeconfig: Path | None = None
    atlas: Path = EXAMPLE
    samples: Path | None = None


@dataclass
class Restaurant:
    """A site with everything that plays it. `kube` is None on an existing cluster."""

    plan: RestaurantPlan
    number: int
    repo: AtlasRepo
    git_password: str = field(repr=False)
    kube: KubeSite | None = None
    kubeconfig: Path = Path()
    nodes: list[Node] = field(default_factory=list)

    @property
    def site(self) -> str:
        """The site's id."""
        return self.plan.site

    @property
    def names(self) -> list[str]:
        """The names of its nodes."""
        return [f"{self.site}-nuc{number}" for number in range(1, self.plan.nodes + 1)]


class Town:
    """All of it. Build it by `Town.open`, or step by step in the order of its methods."""

    def __init__(
        self, folder: Path, plans: Sequence[RestaurantPlan], *, interval: float, stack: AsyncExitStack
    ) -> None:
        self.folder = folder
        self.plans = plans
        self.interval = interval
        self.stack = stack
        self.restaurants: list[Restaurant] = []
        self.etcd: Etcd | None = None
        self.git: GitServer
        self.mqtt: Mosquitto
        self.endpoint: Endpoint
        self.cloud: EndpointClient

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, plans: Sequence[RestaurantPlan], *, interval: float = 2.0) -> AsyncIterator[Town]:
        """A whole town, started; it is gone when the block ends."""
        async with AsyncExitStack() as stack:
            town = cls(folder, plans, interval=interval, stack=stack)
            town.found()
            await town.start_clusters()
            await town.start_servers()
            await town.start_endpoint()
            await town.register()
            await town.start_nodes()
            yield town

    def found(self) -> None:
        """Makes the restaurants' Git repositories and fills them."""
        for part in ("git", "work", "kube", "nodes"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        for number, plan in enumerate(self.plans, start=1):
            repo = AtlasRepo.create(self.folder / "git", plan.site, plan.atlas, self.folder / "work", plan.samples)
            kubeconfig = plan.kubeconfig or Path()
            self.restaurants.append(Restaurant(plan, number, repo, token_urlsafe(18), kubeconfig=kubeconfig))

    async def start_clusters(self) -> None:
        """One control plane a site, on one etcd, its nodes played by KWOK; then what Vessel needs in each."""
        own = [one for one in self.restaurants if one.plan.kubeconfig is None]
        if own:
            self.etcd = await asyncio.to_thread(Etcd(kube_build.ensure(), self.folder / "kube").__enter__)
            self.stack.push_async_callback(asyncio.to_thread, self.etcd.__exit__, None, None, None)
        async with asyncio.TaskGroup() as group:
            for one in own:
                group.create_task(self._start_cluster(one))
        for one in self.restaurants:
            kubeconfig = one.plan.kubeconfig or one.kubeconfig
            await run(BIN / "vessel", "bootstrap", "--kubeconfig", kubeconfig)
            if one.kube is not None:
                one.kubeconfig = await asyncio.to_thread(one.kube.kubeconfig_for, VESSEL_USER, VESSEL_GROUPS)

    async def _start_cluster(self, one: Restaurant) -> None:
        assert self.etcd is not None
        folder = self.folder / "kube"
        one.kube = KubeSite(one.site, folder, self.etcd, nodes=one.names, audit=True, node_grace_seconds=8)
        self.stack.push_async_callback(asyncio.to_thread, one.kube.down)
        await asyncio.to_thread(one.kube.up)
        one.kubeconfig = one.kube.kubeconfig

    async def start_servers(self) -> None:
        """The Git server with a login a site, and the MQTT broker."""
        users = {one.site: one.git_password for one in self.restaurants}
        self.git = await self.stack.enter_async_context(GitServer.start(self.folder / "git", users=users))
        self.mqtt = await asyncio.to_thread(Mosquitto, self.folder / "mqtt", [one.site for one in self.restaurants])
        await asyncio.to_thread(self.mqtt.start)
        self.stack.push_async_callback(asyncio.to_thread, self.mqtt.stop)

    async def start_endpoint(self) -> None:
        """The cloud endpoint, with each site's Git credential in a file of its own."""
        cloud = self.folder / "cloud"
        cloud.mkdir(exist_ok=True)
        credentials = cloud / "git-credentials.json"
        credentials.touch(mode=0o600)
        host = f"{self.git.host}:{self.git.port}"
        sites = {
            one.site: {"host": host, "username": one.site, "password": one.git_password} for one in self.restaurants
        }
        credentials.write_text(json.dumps({"v": 1, "sites": sites}))
        played = any(one.plan.kubeconfig is None for one in self.restaurants)
        self.endpoint = Endpoint(
            cloud,
            names=[plan.address for one in self.restaurants for plan in self._node_plans(one)],
            git={"credential_file": str(credentials)},
            beat_seconds=self.interval,
            page={"notice": NOTICE if played else ""},
        )
        await asyncio.to_thread(self.endpoint.start)
        self.stack.push_async_callback(asyncio.to_thread, self.endpoint.stop)
        self.cloud = await self.stack.enter_async_context(self.endpoint.operator())

    def _node_plans(self, one: Restaurant) -> list[NodePlan]:
        return [
            NodePlan(
                site=one.site,
                site_number=one.number,
                number=number,
                name=name,
                kubeconfig=one.kubeconfig,
                interval=self.interval,
                scenario=self.folder / "nodes" / f"{one.site}-scenario.yaml" if number == 1 else None,
            )
            for number, name in enumerate(one.names, start=1)
        ]

    async def register(self) -> None:
        """Sites with their Atlas, and the shipping list with a one-time code a node."""
        for one in self.restaurants:
            atlas = {"url": self.git.url(f"{one.site}.git"), "branch": "main", "path": ".", "credential": "endpoint"}
            await self.cloud.put_site(one.site, labels=one.plan.labels, atlas=atlas)
            self._write_scenario(one)
            where = Cloud(self.endpoint.host, self.endpoint.port, self.endpoint.issuer, self.endpoint.ca_file)
            for plan in self._node_plans(one):
                code = await self.cloud.ship(plan.hardware_id, one.site, plan.name, address=plan.address)
                one.nodes.append(Node(plan, self.folder / "nodes" / plan.name, where, code=code))

    def _write_scenario(self, one: Restaurant) -> None:
        account = self.mqtt.clients[one.site]
        scenario = {
            "v": 1,
            "scenario": "site",
            "interval_seconds": self.interval,
            "report_seconds": self.interval * 2,
            "steps": [
                {
                    "name": "api",
                    "type": "kubernetes",
                    "namespace": "galley-synthetic",
                    "kubeconfig": str(one.plan.kubeconfig or one.kube.kubeconfig if one.kube else one.kubeconfig),
                },
                {"name": "cloud", "type": "cloud", "timeout_seconds": 2},
                {
                    "name": "broker",
                    "type": "mqtt",
                    "host": self.mqtt.host,
                    "port": self.mqtt.port,
                    "username": account.username,
                    "password_file": str(account.password_file),
                },
                {"name": "atlas", "type": "http", "url": self.git.url(f"{one.site}.git/info/refs"), "status": [401]},
            ],
        }
        path = self.folder / "nodes" / f"{one.site}-scenario.yaml"
        path.write_text(yaml.safe_dump(scenario, sort_keys=False))

    async def start_nodes(self) -> None:
        """Lines to the cloud, files and daemons of every node."""
        for one in self.restaurants:
            for node in one.nodes:
                await self.stack.enter_async_context(node.proxy)
                node.lay_out()
        self.stack.push_async_callback(self.stop_nodes)
        for one in self.restaurants:
            for node in one.nodes:
                await asyncio.to_thread(node.start)

    async def stop_nodes(self) -> None:
        """SIGTERM to every daemon of every node, all at once."""
        nodes = [node for one in self.restaurants for node in one.nodes]
        await asyncio.gather(*(asyncio.to_thread(node.stop) for node in nodes))

    # What the cloud says.

    async def site(self, one: Restaurant) -> dict[str, Any]:
        """All of one site, as an operator reads it."""
        return dict(await self.cloud.call("GET", f"/v1/fleet/sites/{one.site}"))

    async def phases(self, one: Restaurant, revision: str) -> dict[str, str]:
        """The phase of each app that was reported at a revision."""
        view = await self.site(one)
        bodies = [entry["body"] for entry in view["deployments"]]
        return {body["app"]: body["phase"] for body in bodies if body["revision"] == revision}

    async def wait_healthy(self, one: Restaurant, revision: str = "", *, seconds: float = 120) -> None:
        """Waits until each app of the Atlas is reported healthy at a revision (default: the branch's)."""
        wanted = revision or await asyncio.to_thread(one.repo.head)
        apps = await asyncio.to_thread(one.repo.apps)

        async def healthy() -> bool:
            phases = await self.phases(one, wanted)
            return all(phases.get(app) == "healthy" for app in apps)

        await self.until(healthy, seconds=seconds, what=f"{one.site} healthy at {wanted[:10]}")

    async def wait_beats(self, one: Restaurant, *, seconds: float = 60) -> None:
        """Waits until every node of a site was heard within three intervals."""

        async def beating() -> bool:
            view = await self.site(one)
            newest = [node["beat_ms"] or 0 for node in view["nodes"]]
            fresh = (time.time() - 3 * self.interval - 1) * 1000
            return len(newest) == one.plan.nodes and min(newest) > fresh

        await self.until(beating, seconds=seconds, what=f"{one.site}: all nodes beat")

    async def until(self, what_is: Callable[[], Awaitable[bool]], *, seconds: float, what: str) -> float:
        """Waits until something is true and returns how long it took in s; TimeoutError naming it otherwise."""
        began = time.monotonic()
        while not await what_is():
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"not so within {seconds:.0f} s: {what}")
            await asyncio.sleep(LOOK_SECONDS)
        return time.monotonic() - began


async def run(*command: str | Path, seconds: float = 120) -> str:
    """Runs a command and returns its output; RuntimeError with it when it fails."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        raise
    if process.returncode != 0:
        name = shutil.which(str(command[0])) or str(command[0])
        raise RuntimeError(f"{Path(name).name} {command[1]} failed ({process.returncode}):\n{output.decode()}")
    return output.decode()
