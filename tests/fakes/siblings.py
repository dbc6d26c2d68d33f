"""Nodes of a site for tests of the siblings' channel: keys, roster entries, a time that tests turn, and servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from agents.contracts.identity import Member
from agents.contracts.ids import node_id
from agents.core.jose import SoftwareKey
from agents.core.settings import Listener
from agents.io.clock import SystemClock
from edge_commander.keys import FileDeviceKeys
from edge_commander.reasons import NOTHING, Reason
from edge_commander.siblings.client import SiblingClient
from edge_commander.siblings.server import Handler, SiblingServer
from edge_commander.siblings.tls import SiblingTls


class TurnedTime:
    """The machine's wall clock plus `offset_ms`; `reason` is the clock's problem."""

    def __init__(self) -> None:
        self.offset_ms = 0
        self.reason: Reason = NOTHING
        self.confirmed = True  # by the endpoint

    def now_ms(self) -> int:
        return SystemClock().wall_ms() + self.offset_ms

    def problem(self) -> Reason:
        return self.reason


@dataclass
class Sibling:
    """One node. `roster` is what it believes; tests change it."""

    name: str
    run_dir: Path
    keys: FileDeviceKeys = field(default_factory=lambda: FileDeviceKeys(SoftwareKey.generate(), SoftwareKey.generate()))
    roster: list[Member] = field(default_factory=list)
    time: TurnedTime = field(default_factory=TurnedTime)
    address: str = "127.0.0.1"
    server: SiblingServer | None = None

    def __post_init__(self) -> None:
        self.node = node_id(self.name)
        self.tls = SiblingTls(self.node, self.keys.signer, lambda: self.roster, self.time, self.run_dir)
        self.client = SiblingClient(self.tls)

    @property
    def member(self) -> Member:
        """Its entry in a roster, with the port it listens on."""
        port = self.server.port if self.server is not None else 0
        address = f"{self.address}:{port}" if port else self.address
        return Member(
            node=self.node, name=self.name, address=address, signing=self.keys.signer.public, sealing=self.keys.sealing
        )

    async def serve(self, routes: Mapping[tuple[str, str], Handler], log: Any = None) -> None:
        """Listens on a free loopback port."""
        self.server = SiblingServer(
            Listener(bind=self.address, port=0), self.tls, routes, SystemClock(), log or structlog.get_logger()
        )
        await self.server.open()

    async def aclose(self) -> None:
        await self.client.aclose()
        if self.server is not None:
            await self.server.aclose()


async def make_site(
    folder: Path, stack: AsyncExitStack, routes: Mapping[tuple[str, str], Handler], names: Sequence[str] = "abc"
) -> list[Sibling]:
    """Nodes that serve `routes` and know one another."""
    nodes = []
    for name in names:
        (folder / name).mkdir(parents=True)
        node = Sibling(f"nuc-{name}", folder / name)
        stack.push_async_callback(node.aclose)
        await node.serve(routes)
        nodes.append(node)
    know_one_another(nodes)
    return nodes


def know_one_another(nodes: Sequence[Sibling]) -> None:
    """Every node's roster is all of them."""
    for node in nodes:
        node.roster[:] = [one.member for one in nodes]
