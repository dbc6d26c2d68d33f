"""The commander's half: reads what is asked, has it pulled one by one, says what is here, goes on after any fault."""

from __future__ import annotations

from typing import Any

import structlog

from agents.contracts.codec import decode, encode
from agents.contracts.images import KEY, NODES, WANTED, NodeImages, WantedImages
from agents.core.errors import Rejected, Retryable
from agents.core.ports import ApiProblem
from agents.io.kube import KubeRejected
from edge_commander.distribution.port import ClusterMember
from edge_commander.images.loop import ImagesLoop
from edge_commander.images.settings import PrepullSettings
from tests.fakes.clock import VirtualClock

A, B = "docker.io/library/a:1", "docker.io/library/b:1"


class Site:
    """The cluster's two ConfigMaps, and this node's containerd."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.wanted: WantedImages | None = None
        self.lines: dict[str, Any] = {}
        self.had: set[str] = set()
        self.pulled: list[str] = []
        self.faults: dict[str, Exception] = {}
        self.away = False
        self.writes = 0
        self.name: str | None = "nuc-1"
        self.loop = ImagesLoop(
            self,
            lambda: self.name,
            PrepullSettings(),
            self.clock,
            log=structlog.get_logger(),
            say=lambda ok, text: None,
            uniform=lambda low, high: high,
        )

    async def client(self) -> Site:
        if self.away:
            raise Retryable("no kubeconfig yet")
        return self

    async def members(self) -> list[ClusterMember]:
        return [ClusterMember(name=name, ready=True, server=True) for name in ("nuc-1", "nuc-2")]

    async def images(self) -> frozenset[str]:
        return frozenset(self.had)

    async def pull(self, image: str) -> tuple[bool, int]:
        self.pulled.append(image)
        if image in self.faults:
            raise self.faults[image]
        self.had.add(image)
        return True, 100

    async def request(self, method: str, path: str, *, body: Any = None, content_type: str = "") -> Any:
        if method == "PATCH":
            assert path.endswith(NODES)
            self.writes += 1
            for name, text in body["data"].items():
                self.lines.pop(name, None) if text is None else self.lines.update({name: text})
            return {}
        if path.endswith(WANTED):
            if self.wanted is None:
                raise KubeRejected(ApiProblem(status=404, reason="NotFound", message="none"))
            return {"data": {KEY: encode(self.wanted).decode()}}
        return {"data": dict(self.lines)}

    def line(self) -> NodeImages:
        return decode(self.lines["nuc-1"], NodeImages)


async def test_a_node_takes_part_before_anything_is_asked_and_strikes_out_those_that_are_no_more() -> None:
    site = Site()
    site.lines = {"nuc-2": "{}", "ghost": "{}"}
    assert await site.loop.turn() == 10.0
    assert site.line() == NodeImages() and set(site.lines) == {"nuc-1", "nuc-2"}
    for _ in range(5):
        await site.loop.turn()
    assert site.writes == 1, "no news, no write"


async def test_what_is_missing_is_pulled_one_by_one_and_said_each_time() -> None:
    site = Site()
    site.wanted = WantedImages(revision="r1", images=[A, B])
    assert await site.loop.turn() == 0.0
    assert (site.pulled, site.line().missing) == ([A], 1)
    assert await site.loop.turn() == 0.0
    assert (site.pulled, site.line()) == ([A, B], NodeImages(revision="r1", fetched=200))
    assert await site.loop.turn() == 10.0


async def test_faults_are_tried_again_and_what_cannot_be_had_is_said() -> None:
    site = Site()
    site.wanted = WantedImages(revision="r1", images=[A, B])
    site.faults = {A: Retryable("no line"), B: Rejected("needs a pull secret")}
    await site.loop.turn()
    await site.loop.turn()
    assert (site.line().missing, site.line().failed) == (1, {B: "needs a pull secret"})
    assert await site.loop.turn() == 5.0 and site.pulled == [A, B]
    site.faults.clear()
    await site.clock.advance(5.0)
    await site.loop.turn()
    assert site.pulled == [A, B, A] and site.line().missing == 0


async def test_a_node_that_is_not_in_its_cluster_yet_waits_without_a_word() -> None:
    site = Site()
    site.name = None
    assert await site.loop.turn() == 10.0 and site.writes == 0
    site.name, site.away = "nuc-1", True
    assert await site.loop.turn() == 10.0
    site.away = False
    await site.loop.turn()
    assert site.line() == NodeImages()


async def test_another_commit_is_seen_and_an_image_that_went_away_is_pulled_anew() -> None:
    site = Site()
    site.wanted = WantedImages(revision="r1", images=[A])
    await site.loop.turn()
    site.wanted = WantedImages(revision="r2", images=[A, B])
    await site.loop.turn()
    assert site.pulled == [A, B] and site.line().revision == "r2"
    site.had.clear()  # the kubelet collected them
    site.lines.clear()  # and somebody emptied the ConfigMap
    await site.clock.advance(601.0)
    await site.loop.turn()
    await site.loop.turn()
    assert site.pulled == [A, B, A, B] and site.line().missing == 0
    writes = site.writes
    await site.clock.advance(601.0)
    await site.loop.turn()
    assert site.writes == writes, "a look that finds all as it was writes nothing"
