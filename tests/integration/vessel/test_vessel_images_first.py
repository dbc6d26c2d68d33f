"""Through the whole suite: Vessel names a commit's images, a node pulls them, and only then is the commit applied.

Vessel is the real process against the real API server, by the rights that `vessel bootstrap` gives; the commander's
loop works by its own, against the real root half, a real containerd and a real registry.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml

from agents.contracts.codec import decode
from agents.contracts.images import NODES, WANTED, NodeImages
from agents.io.clock import SystemClock
from agents.io.kube import Kube
from agents.supervise.pulse import Pulse
from edge_commander.distribution.port import ClusterMember
from edge_commander.distribution.settle import APPLY
from edge_commander.images.access import image_rights
from edge_commander.images.loop import ImagesLoop
from edge_commander.images.settings import PrepullSettings
from tests.site_in_a_box.image_line import ImageLine
from vessel.bootstrap import objects
from vessel.bootstrap_apply import apply

USER = "galley-commander"
MIB = 1 << 20


@pytest.fixture
def line() -> Iterator[ImageLine]:
    folder = Path(tempfile.mkdtemp(prefix="galley-line-"))
    with ImageLine(folder) as made:
        yield made
    shutil.rmtree(folder)


class Node:
    """The commander's half on one node: the root half of `apart`, the cluster by its own user."""

    def __init__(self, kube: Kube, apart: Any) -> None:
        self.kube, self.apart = kube, apart
        self.images, self.pull = apart.images, apart.pull

    async def client(self) -> Kube:
        return self.kube

    async def members(self) -> list[ClusterMember]:
        return [ClusterMember(name="nuc-a", ready=True, server=True)]


def deployment(slate: Any, *images: str) -> str:
    one = yaml.safe_load(slate.deployment("till", replicas=0))
    one["spec"]["template"]["spec"]["containers"] = [
        {"name": f"c{number}", "image": image} for number, image in enumerate(images)
    ]
    return yaml.safe_dump(one)


async def test_images_are_there_before_the_commit_is_applied(slate: Any, line: ImageLine) -> None:
    for name in ("till", "menu"):
        line.publish(name, "1", [os.urandom(MIB)])
    site, clock = slate.site, SystemClock()
    admin = await Kube.connect(kubeconfig=site.kubeconfig, user_agent="test")
    vessel_user, user = "galley-vessel-images", f"{USER}-images"
    await apply(admin, objects(users=[vessel_user]))
    for path, body in image_rights(user):
        params = {"fieldManager": "test", "force": "true"}
        await admin.request("PATCH", path, params=params, body=body, content_type=APPLY)
    stale = {"data": {"ghost": "{}"}}
    place = f"/api/v1/namespaces/galley-system/configmaps/{NODES}"
    await admin.request("PATCH", place, body=stale, content_type="application/merge-patch+json")
    kube = await Kube.connect(kubeconfig=site.kubeconfig_for(user), user_agent="edge-commander")
    stopping = asyncio.Event()
    settings = PrepullSettings(look_seconds=0.3)
    try:
        async with line.root_half(bytes_per_second=MIB) as apart:
            node = Node(kube, apart)
            loop = ImagesLoop(
                node, lambda: "nuc-a", settings, clock, log=structlog.get_logger(), say=lambda ok, text: None
            )
            running = asyncio.create_task(loop.run(Pulse("images", clock, stopping)))
            vessel = slate.vessel(
                kubeconfig=site.kubeconfig_for(vessel_user), prepull={"mode": "wait"}, bootstrap=False
            ).start()
            missing = line.name("nowhere")
            files = {"apps/web/app.yaml": slate.app(), "apps/web/ns.yaml": slate.namespace()}
            till, menu = line.name("till"), line.name("menu")
            files["apps/web/d.yaml"] = deployment(slate, till, menu, missing)
            revision = slate.repo.commit(files, "three images")
            while slate.get("deployment", "till") is None:
                assert not running.done() and vessel.program.running
                await asyncio.sleep(0.05)
            have = await apart.images()
            assert {till, menu} <= have, "before there is any object that needs them"
            await vessel.wait_report(app="*", phase="healthy", revision=revision)
            said = [one for one in vessel.reports(app="*", phase="checking", revision=revision) if one["problems"]]
            assert [p for p in said[0]["problems"] if missing in p and "no such image" in p], said
            lines = (await kube.request("GET", place))["data"]
            assert set(lines) == {"nuc-a"}, "the line of a node that is no more is gone"
            mine = decode(lines["nuc-a"], NodeImages)
            assert (mine.revision, mine.missing, set(mine.failed)) == (revision, 0, {missing})
            assert 2 * MIB < mine.fetched < 2.2 * MIB
            stopping.set()
            await running
    finally:
        await kube.aclose()
        for name in (WANTED, NODES):
            site.kubectl("delete", "configmap", name, "-n", "galley-system", "--ignore-not-found")
        for path, _ in image_rights(user)[1:]:
            await admin.request("DELETE", path)
        await apply(admin, objects())
        await admin.aclose()
