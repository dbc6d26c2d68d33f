"""Every point at which a pass writes, before and after the write: death there leaves no orphan and no half-done state.

The pass runs in this process against a real API server; at the chosen write the client is dead from then on, as after
a SIGKILL: what was written stays, nothing more is, and nothing of the process' memory is used again.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.contracts.messages import Deployment
from agents.core.ports import Object
from agents.io.clock import SystemClock
from agents.io.kube import Kube
from tests.site_in_a_box.kube_site import KubeSite
from vessel.bootstrap import objects
from vessel.bootstrap_apply import ensure
from vessel.deploy import Deployer, Outcome
from vessel.inventory_store import InventoryStore
from vessel.keeper import Keeper
from vessel.mirror import Mirror
from vessel.model import App, AppSpec, Atlas, Commit, Manifest, Ref
from vessel.prepare import Preparer
from vessel.prune import PrunePolicy
from vessel.writer import Writer

WRITES = ("POST", "PUT", "PATCH", "DELETE")


class Killed(BaseException):
    """The process died."""


class Fate:
    """Dies at write number `at` (from 1; 0: never), before or after the server has it."""

    def __init__(self, at: int, after: bool) -> None:
        self.at = at
        self.after = after
        self.count = 0
        self.dead = False


class MortalKube(Kube):
    """A real client with a fate, shared by its views."""

    fate: Fate

    def acting_as(self, user: str | None) -> MortalKube:
        view = MortalKube(self._shared, user)
        view.fate = self.fate
        return view

    async def request(self, method: str, path: str, **more: Any) -> Object:
        if self.fate.dead:
            raise Killed
        dry = "dryRun" in (more.get("params") or {}) or "dryRun" in (more.get("body") or {})
        if method in WRITES and not dry:
            self.fate.count += 1
            if self.fate.count == self.fate.at:
                self.fate.dead = True
                if not self.fate.after:
                    raise Killed
                await super().request(method, path, **more)
                raise Killed
        return await super().request(method, path, **more)


def atlas(revision: str, apps: dict[str, dict[str, str]], namespace: str) -> Atlas:
    """Apps of ConfigMaps: {app: {name: value}}."""
    made = []
    for stage, (app, maps) in enumerate(sorted(apps.items())):
        spec = AppSpec(name=app, owner="team", namespace=namespace, stage=stage)
        manifests = tuple(
            Manifest(
                Ref("v1", "ConfigMap", "", name),
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}},
                f"apps/{app}/{name}.yaml",
                1,
            )
            for name, value in sorted(maps.items())
        )
        made.append(App(spec, manifests))
    return Atlas(Commit(revision), tuple(made))


async def one_pass(site: KubeSite, wanted: Atlas, fate: Fate) -> Outcome:
    """A process' life: everything new, one pass."""
    kube = await Kube.connect(kubeconfig=site.kubeconfig, user_agent="kill-points")
    mortal = MortalKube(kube._shared, None)
    mortal.fate = fate
    clock, wake, reports = SystemClock(), asyncio.Event(), []

    async def send(report: Deployment) -> None:
        reports.append(report)

    mirror = Mirror(mortal, clock, random.uniform, wake)
    store = InventoryStore(mortal, "galley-system", lambda: 10.0, max_bytes=600)
    writer = Writer(mortal, lambda: 10.0, 4)
    preparer = Preparer(mortal, mirror, writer, PrunePolicy(max_percent=100))
    keeper = Keeper(mirror=mirror, store=store, writer=writer, clock=clock, send=send)
    deployer = Deployer(
        preparer=preparer, mirror=mirror, store=store, writer=writer, keeper=keeper, clock=clock, send=send, wake=wake
    )
    try:
        await store.load()
        prepared = await preparer.prepare(wanted, store.inventories)
        return await deployer.carry_out(prepared, lambda: False)
    finally:
        await mirror.aclose()
        await kube.aclose()


def state(site: KubeSite, namespace: str) -> dict[str, tuple[str, str]]:
    """All ConfigMaps that are Vessel's: name -> (app, value)."""
    text = site.kubectl("get", "configmaps", "-n", namespace, "-l", "vessel.galley/app", "-o", "json")
    return {
        item["metadata"]["name"]: (item["metadata"]["labels"]["vessel.galley/app"], item["data"]["value"])
        for item in json.loads(text)["items"]
    }


def expected(apps: dict[str, dict[str, str]]) -> dict[str, tuple[str, str]]:
    return {name: (app, value) for app, maps in apps.items() for name, value in maps.items()}


@pytest.fixture
def site(make_kube_site: Callable[..., KubeSite]) -> Iterator[KubeSite]:
    yield make_kube_site("killed", controllers=False, audit=False)


BEFORE = {"a": {"keep": "1", "change": "1", "go": "1", "move": "1"}, "b": {"stay": "1", "leave": "1"}}
AFTER = {"a": {"keep": "1", "change": "2", "come": "1", "come2": "1"}, "b": {"stay": "1", "move": "1", "new": "1"}}


async def test_every_write(site: KubeSite) -> None:
    namespace = "default"
    kube = await Kube.connect(kubeconfig=site.kubeconfig, user_agent="kill-points")
    try:
        assert await ensure(kube, SystemClock()) is True
        assert await ensure(kube, SystemClock()) is False
        assert {body["kind"] for body in objects()} >= {"Namespace", "ServiceAccount", "Role", "ClusterRoleBinding"}
    finally:
        await kube.aclose()
    before, after = atlas("1" * 40, BEFORE, namespace), atlas("2" * 40, AFTER, namespace)
    never = Fate(0, after=False)
    assert (await one_pass(site, before, never)).healthy
    assert state(site, namespace) == expected(BEFORE)
    # A pass without a kill, to know how many writes there are.
    whole = Fate(0, after=False)
    assert (await one_pass(site, after, whole)).healthy
    assert state(site, namespace) == expected(AFTER)
    again = Fate(0, after=False)
    assert (await one_pass(site, after, again)).healthy
    assert again.count == 0, "nothing changed: nothing is written"
    assert whole.count >= 10

    for point in range(1, whole.count + 1):
        for late in (False, True):
            assert (await one_pass(site, before, Fate(0, after=False))).healthy
            assert state(site, namespace) == expected(BEFORE)
            with pytest.raises(Killed):
                await one_pass(site, after, Fate(point, after=late))
            # One way on: the commit is taken back. What it had made already must go: no orphan.
            # The other way: the same commit again, which must complete.
            goes_on, target = ((after, AFTER), (before, BEFORE))[point % 2]
            assert (await one_pass(site, goes_on, Fate(0, after=False))).healthy
            assert state(site, namespace) == expected(target), (
                f"killed at write {point}, {'after' if late else 'before'}"
            )
