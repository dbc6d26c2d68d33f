"""The commander's half of pulling ahead: reads what Vessel asks for, has the root half pull it, says what is here.

Level-triggered: each look reads all anew; after any crash the first finds what is left to do. Touches the cluster's
two ConfigMaps, and the root half's socket.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from agents.contracts.codec import ContractError, decode
from agents.contracts.images import KEY, NAMESPACE, NODES, WANTED, NodeImages, WantedImages
from agents.core.errors import GalleyError, Rejected, Retryable
from agents.core.ports import Clock
from agents.supervise.daemon import Context, Loop, Pulse
from edge_commander.distribution.apart import Apart
from edge_commander.distribution.port import ClusterMember
from edge_commander.forming import own_name
from edge_commander.images.plan import Progress, looked, patch
from edge_commander.images.settings import PrepullSettings
from edge_commander.memory import Memory
from edge_commander.settings import CommanderSettings

MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
MERGE = "application/merge-patch+json"
RECHECK_SECONDS = 600.0
"""How often it is looked whether images that were here still are."""
GRACE = 300.0


class Node(Protocol):
    """What of the distribution is used (distribution.apart.Apart has it). Each raises Retryable or Rejected."""

    async def client(self) -> Any:
        """The Kubernetes client of the commander's own user."""

    async def members(self) -> list[ClusterMember]:
        """The cluster's Nodes."""

    async def images(self) -> frozenset[str]:
        """What containerd has whole."""

    async def pull(self, image: str) -> tuple[bool, int]:
        """One try: whether it is here now, and bytes that came."""


class ImagesLoop:
    """`name`: this node's name in Kubernetes; None before there is one. `say(ok, text)`: for the health page."""

    def __init__(
        self,
        node: Node,
        name: Callable[[], str | None],
        settings: PrepullSettings,
        clock: Clock,
        *,
        log: FilteringBoundLogger,
        say: Callable[[bool, str], None],
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._node = node
        self._name = name
        self._settings = settings
        self._clock = clock
        self._log = log
        self._say = say
        self._uniform = uniform
        self._progress: Progress | None = None
        self._listed_at = float("-inf")
        self._told: NodeImages | None = None
        self._why = ""

    async def run(self, pulse: Pulse) -> None:
        """Until the daemon stops; what the root half has begun then goes on to its own end."""
        while not pulse.stopping:
            pause = self._settings.look_seconds
            turn = asyncio.create_task(self.turn())
            await pulse.until(turn, self._settings.pull_seconds + GRACE)
            if turn.done() and not turn.cancelled():
                pause = turn.result()
            await pulse.sleep(pause)

    async def turn(self) -> float:
        """One look, and one try at most; seconds until the next."""
        name = self._name()
        if name is None:
            return self._settings.look_seconds
        try:
            await self._look(name)
            pause = await self._step(name)
        except GalleyError as error:
            if self._why != (text := str(error)):
                self._log.info("images are not pulled ahead now", cause=text)
            self._why = text
            self._say(isinstance(error, Retryable), text)
            return self._settings.look_seconds
        self._why = ""
        return pause

    async def _look(self, name: str) -> None:
        kube = await self._node.client()
        wanted = await _wanted(kube)
        known = self._progress is not None and self._progress.wanted == wanted
        now = self._clock.monotonic()
        if not known or now - self._listed_at >= RECHECK_SECONDS:
            had = await self._node.images() if wanted.images else frozenset()
            self._progress = looked(self._progress, wanted, had)
            self._listed_at = now
            self._told = None  # whatever became of our line meanwhile
        await self._tell(kube, name)

    async def _step(self, name: str) -> float:
        assert self._progress is not None
        image = self._progress.next(self._clock.monotonic())
        if image is None:
            return self._progress.pause(self._clock.monotonic(), self._settings.look_seconds)
        began = self._clock.monotonic()
        self._say(True, f"pulls {image}")
        try:
            done, fetched = await self._node.pull(image)
        except (Retryable, Rejected) as error:
            self._log.warning("an image was not pulled", image=image, cause=str(error))
            final = isinstance(error, Rejected)
            now = self._clock.monotonic()
            self._progress = self._progress.failed(image, str(error), now, final=final, uniform=self._uniform)
        else:
            now = self._clock.monotonic()
            self._progress = self._progress.pulled(image, done=done, fetched=fetched, now=now)
            spent = round(now - began, 1)
            self._log.info("pulled ahead", image=image, whole=done, bytes=fetched, seconds=spent)
        await self._tell(await self._node.client(), name)
        return 0.0

    async def _tell(self, kube: Any, name: str) -> None:
        """Writes this node's line where it is news."""
        assert self._progress is not None
        said = self._progress.said()
        if said != self._told:
            lines: dict[str, object] = {}
            members: frozenset[str] = frozenset()
            if self._told is None or self._told.revision != said.revision:
                lines = (await kube.request("GET", f"{MAPS}/{NODES}")).get("data") or {}
                members = frozenset(one.name for one in await self._node.members())
            news = patch(name, said, lines, members)
            if news.keys() != {name} or news[name] != lines.get(name):
                await kube.request("PATCH", f"{MAPS}/{NODES}", body={"data": news}, content_type=MERGE)
            self._told = said
        text = f"{len(said.failed)} cannot be had" if said.failed else f"{said.missing} to pull"
        self._say(True, text)


async def _wanted(kube: Any) -> WantedImages:
    """What Vessel asks for; nothing where it never did. Raises Retryable for what cannot be read."""
    from agents.io.kube import KubeRejected

    try:
        found = await kube.request("GET", f"{MAPS}/{WANTED}")
    except KubeRejected as error:
        if error.status != 404:
            raise
        return WantedImages(revision="")
    try:
        return decode((found.get("data") or {}).get(KEY, ""), WantedImages)
    except ContractError as error:
        raise Retryable(f"ConfigMap {NAMESPACE}/{WANTED}: {error}") from None


def build(context: Context[CommanderSettings], distribution: Apart, memory: Memory) -> list[Loop]:
    """The loop of a daemon; none where images are not to be pulled ahead."""
    if not context.settings.own.prepull.enabled:
        return []
    loop = ImagesLoop(
        distribution,
        lambda: own_name(memory.site, memory.record.node or ""),
        context.settings.own.prepull,
        context.clock,
        log=context.log,
        say=lambda ok, text: context.health.set("images", ok, text),
    )
    return [Loop("images", loop.run)]
