"""A site of three in a store: its nodes beat, are ready, are sent commands and answer them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agents.contracts.codec import encode
from agents.contracts.command import Command, Verb
from agents.contracts.ids import Stream
from agents.contracts.ingest import Envelope, IngestRequest
from agents.contracts.messages import Beat, Body, CommandResult, NodeState, State
from agents.contracts.wipe import WipeGrant
from agents.core.command_verify import sign_command
from agents.core.jose import SoftwareKey
from cloud_endpoint.records import AuditRecord
from cloud_endpoint.store import audit, commands, wipe_grants
from cloud_endpoint.store.port import Store
from tests.fakes.store_kit import Clock, enrolled, take

SITE, INTERVAL = "store-1", 15.0
OPERATOR = SoftwareKey.generate("Ed25519")


class Site:
    """`nodes`: their ids. `t` of what they say is the store's clock, unless the test says otherwise."""

    def __init__(self, store: Store, clock: Clock, name: str = SITE) -> None:
        self.store, self.clock, self.name = store, clock, name
        self.nodes: list[str] = []
        self._seq = 0
        self._commands = 0

    async def begin(self, count: int = 3) -> Site:
        """Enrolled, ready and heard."""
        for number in range(count):
            self.nodes.append(await enrolled(self.store, f"{self.name}-{number}", self.name, f"n{number + 1}"))
        await self.ready(*self.nodes)
        return self

    async def say(self, node: str, body: Body, t: int | None = None) -> None:
        """One message of the node's."""
        self._seq += 1
        stream = Stream.HEARTBEAT if isinstance(body, Beat) else Stream.COMMANDER
        message = Envelope(seq=self._seq, t=self.clock.ms if t is None else t, m=msgspec.Raw(encode(body)))
        request = IngestRequest(stream=stream, run=f"{1:016x}", messages=[message])
        await take(self.store, node, request, self.name)

    async def ready(self, *nodes: str) -> None:
        """They beat, and say that they are ready."""
        await self.beat(*nodes)
        for node in nodes:
            await self.state(node, NodeState.READY)

    async def beat(self, *nodes: str) -> None:
        """They are alive."""
        for node in nodes:
            await self.say(node, Beat(boot="01234567", up=1, ok=1))

    async def state(self, node: str, state: NodeState, t: int | None = None) -> None:
        """The node says its state."""
        await self.say(node, State(state=state, reason="", since=1), t)

    async def send(self, node: str, verb: Verb = Verb.WIPE, targets: Sequence[str] = ("var",), **args: str) -> str:
        """A command as `app.commands` stores it; its id."""
        self._commands += 1
        now = self.clock.ms // 1000
        one = Command(
            id=f"{self._commands:032x}", verb=verb, site=self.name, node=node, sequence=self._commands, challenge="c",
            issued=now, expires=now + 600, targets=list(targets), args=args,
        )  # fmt: skip
        await self.store.write(lambda tx: commands.add(tx, one, sign_command(one, [OPERATOR]), "op:a"))
        return one.id

    async def ask(self, node: str, command: str) -> WipeGrant:
        """`POST /v1/wipe-grant`."""
        return await self.store.write(lambda tx: wipe_grants.ask(tx, node, self.name, command, interval=INTERVAL))

    async def answer(self, node: str, command: str, outcome: str = "done", t: int | None = None) -> None:
        """The node's answer to a command."""
        result = CommandResult(command_id=command, verb="wipe", outcome=outcome, detail="said so")
        await self.say(node, result, t)

    async def lines(self, *actions: str) -> list[AuditRecord]:
        """The audit's lines of these actions, the oldest first."""
        found = await self.store.read(lambda tx: audit.recent(tx, limit=1000))
        return [one for one in reversed(found) if one.action in actions]
