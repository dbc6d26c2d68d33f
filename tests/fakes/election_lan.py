"""Boxes on a LAN in one process: real ballot boxes on disk, real electors, a network that tests cut and slow down."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from agents.contracts.codec import decode, encode
from agents.contracts.election import ElectionAnswer, ElectionRequest
from agents.contracts.identity import Election, Voter
from agents.contracts.ids import node_id
from agents.core.errors import Retryable
from edge_commander.election.box import BallotBox
from edge_commander.election.driver import Elector, Result
from edge_commander.election.electorate import Self
from tests.fakes.clock import VirtualClock

SITE = "store-1"
NODES = tuple(sorted(node_id(f"hw-{n}") for n in range(5)))


def me(node: str) -> Self:
    return Self(SITE, node, (node + "-key").ljust(43, "_"))


def voters(count: int = 3) -> list[Voter]:
    return [Voter(node=node, kid=me(node).kid) for node in NODES[:count]]


class Killed(BaseException):
    """The process died here."""


class Peers:
    """One box's channel to the others: answers after `seconds`, never where the other is down, fails where cut."""

    def __init__(self, lan: Lan, node: str) -> None:
        self.lan, self.node = lan, node

    async def ask(self, node: str, request: ElectionRequest) -> ElectionAnswer:
        lan = self.lan
        lan.asked += 1
        await lan.clock.sleep(lan.seconds())
        if frozenset((self.node, node)) in lan.cut:
            await lan.clock.sleep(3600)
        if node not in lan.electors:
            raise Retryable("refused")
        try:
            status, body = await lan.electors[node].serve(self.node, encode(request))
        except Killed:
            lan.die(node)
            raise Retryable("the connection broke") from None
        assert status == 200, body
        await lan.clock.sleep(lan.seconds())
        return decode(body, ElectionAnswer)


class Lan:
    """`start(node)` brings a box up from its disk, `die(node)` takes it down, `run` lets some elect at once."""

    def __init__(self, folder: Path, seed: int = 1, count: int = 3) -> None:
        self.folder, self.count = folder, count
        self.clock = VirtualClock()
        self.dice = random.Random(seed)
        self.electors: dict[str, Elector] = {}
        self.boxes: dict[str, BallotBox] = {}
        self.cut: set[frozenset[str]] = set()
        self.slow = 0.02
        self.asked = 0

    def seconds(self) -> float:
        return self.dice.uniform(0.001, self.slow)

    def start(self, *nodes: str, epoch: int = 1, election: Election = Election.OFFLINE) -> None:
        for node in nodes:
            folder = self.folder / node
            had_keys = folder.exists()
            folder.mkdir(exist_ok=True)
            box = BallotBox(folder, had_keys=had_keys, floor=epoch if had_keys else 0)
            box.adopt(epoch, election, voters(self.count))
            self.boxes[node] = box
            self.electors[node] = Elector(box, me(node), Peers(self, node), self.clock, self.dice.uniform)

    def die(self, node: str) -> None:
        self.electors.pop(node, None)

    async def run(
        self, *nodes: str, seconds: float = 30.0, only_votes: tuple[str, ...] = ()
    ) -> tuple[dict[str, Result], float]:
        """What each got, and the virtual seconds until the last had it."""
        began = self.clock.monotonic()
        tasks = {
            node: asyncio.create_task(self.electors[node].run(seconds, propose=node not in only_votes))
            for node in nodes
        }
        while not all(task.done() for task in tasks.values()):
            assert self.clock.monotonic() - began < seconds + 10, "a run goes on past its time"
            await self.clock.advance(0.01)
        found: dict[str, Result] = {}
        for node, task in tasks.items():
            try:
                found[node] = task.result()
            except Killed:
                self.die(node)
        return found, self.clock.monotonic() - began
