"""Restaurants on one machine: an endpoint, clusters, Git and MQTT servers, and the nodes' daemons. Demo and tests.

Everything lives below one folder and ends with the block:

    async with Town.open(folder, [RestaurantPlan("store-00001")]) as town:
        await town.wait_healthy(town.restaurants[0])
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from secrets import token_urlsafe

import yaml

from tests.site_in_a_box import kube_build
from tests.site_in_a_box.atlas_repo import AtlasRepo
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.gitserver import GitServer
from tests.site_in_a_box.kube_etcd import Etcd
from tests.site_in_a_box.kube_site import KubeSite
from tests.site_in_a_box.looks import Looks, run
from tests.site_in_a_box.mosquitto import Mosquitto
from tests.site_in_a_box.node import BIN, Cloud, Node, NodePlan
from tests.site_in_a_box.restaurant import Restaurant, RestaurantPlan

VESSEL_USER = "system:serviceaccount:galley-system:vessel"
VESSEL_GROUPS = ("system:serviceaccounts", "system:serviceaccounts:galley-system")
NOTICE = "Pods of these sites are played by KWOK: objects and controllers are real, containers are not."
SYNTHETIC = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: galley-synthetic\n"


class Town(Looks):
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
        self.pictures: Path | None = None
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
            one = Restaurant(plan, number, repo, token_urlsafe(18))
            one.kubeconfig = one.admin_kubeconfig = plan.kubeconfig or Path()
            self.restaurants.append(one)

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
            await run(BIN / "vessel", "bootstrap", "--kubeconfig", one.admin_kubeconfig)
            await self.kubectl_run(one, "apply", "-f", "-", stdin=SYNTHETIC)
            if one.kube is not None:
                one.kubeconfig = await asyncio.to_thread(one.kube.kubeconfig_for, VESSEL_USER, VESSEL_GROUPS)

    async def _start_cluster(self, one: Restaurant) -> None:
        assert self.etcd is not None
        folder = self.folder / "kube"
        one.kube = KubeSite(one.site, folder, self.etcd, nodes=one.names, audit=True, node_grace_seconds=8)
        self.stack.push_async_callback(asyncio.to_thread, one.kube.down)
        await asyncio.to_thread(one.kube.up)
        one.admin_kubeconfig = one.kube.kubeconfig

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
                admin_kubeconfig=one.admin_kubeconfig,
                kubectl=self.kubectl,
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
        timeout = min(5.0, self.interval)
        scenario = {
            "v": 1,
            "scenario": "site",
            "interval_seconds": self.interval,
            "report_seconds": self.interval * 2,
            "steps": [
                {
                    "name": "api",
                    "type": "kubernetes",
                    "timeout_seconds": timeout,
                    "namespace": "galley-synthetic",
                    "kubeconfig": str(one.admin_kubeconfig),
                },
                {"name": "cloud", "type": "cloud", "timeout_seconds": timeout},
                {
                    "name": "broker",
                    "type": "mqtt",
                    "timeout_seconds": timeout,
                    "host": self.mqtt.host,
                    "port": self.mqtt.port,
                    "username": account.username,
                    "password_file": str(account.password_file),
                },
                {
                    "name": "atlas-is-locked",
                    "type": "http",
                    "timeout_seconds": timeout,
                    "url": self.git.url(f"{one.site}.git/info/refs"),
                    "status": [401],
                },
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
