"""Everything that forms a node's cluster, put together once the node knows its keys and its site. Builds adapters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from agents.contracts.election import PATH
from agents.contracts.identity import Member
from agents.core.errors import Rejected
from agents.core.jose import thumbprint
from agents.core.ports import Clock
from agents.core.settings import Listener
from agents.supervise.pulse import Pulse
from edge_commander.discovery.hintfile import HintReader
from edge_commander.distribution.apart import Apart
from edge_commander.election.box import BallotBox
from edge_commander.election.driver import Elector
from edge_commander.election.electorate import Self
from edge_commander.epoch import EpochFloor, check_not_older
from edge_commander.formation.former import Former, Parts
from edge_commander.formation.gate import BallotGate, Granting, SiblingVoters
from edge_commander.formation.lease import JoinLease
from edge_commander.formation.own_address import OwnAddress
from edge_commander.formation.site import Site
from edge_commander.formation.store import RecordFile
from edge_commander.formation.talk import SiblingTalk, routes
from edge_commander.formation.usher import Usher
from edge_commander.keys import DeviceKeys
from edge_commander.reasons import Reason, Why
from edge_commander.secrets.authority import make_secrets
from edge_commander.secrets.store import SecretsStore
from edge_commander.siblings.client import SiblingClient
from edge_commander.siblings.members import find
from edge_commander.siblings.server import SiblingServer
from edge_commander.siblings.tls import SiblingTls
from edge_commander.times import Times


@dataclass(frozen=True)
class Means:
    """What formation works with. `grant` None where no endpoint is configured; `floor`: the highest epoch that
    this box was ever in; `uniform` spreads waits. `hints_file`: what was heard on the LAN; empty: nothing is."""

    listener: Listener
    ident: Path
    state_dir: Path
    run_dir: Path
    box: BallotBox
    distribution: Apart
    clock: Clock
    times: Times
    grant: Granting | None
    floor: Callable[[DeviceKeys], EpochFloor]
    uniform: Callable[[float, float], float]
    log: FilteringBoundLogger
    hints_file: str = ""


@dataclass(frozen=True)
class _Inner:
    former: Former
    usher: Usher
    server: SiblingServer
    client: SiblingClient
    own: OwnAddress


class Formation:
    """The node's way into its cluster, and its answers to siblings. `turn` from the node's loop, `serve` as a loop."""

    def __init__(self, means: Means) -> None:
        self._m = means
        self._site: Site | None = None
        self._inner: _Inner | None = None
        self._known = asyncio.Event()
        self._highest = 0

    async def turn(self, site: Site, keys: DeviceKeys, clock: Reason) -> Reason:
        """One step; why it waits, NOTHING for a member. Raises Retryable when the disk cannot be written."""
        # A TPM is asked once an epoch, not at each turn.
        known = self._highest == site.epoch
        if not known and (older := await asyncio.to_thread(self._rolled_back, site.epoch, keys)) is not None:
            return older
        self._site = site
        try:
            if self._inner is None:
                self._inner = self._assemble(site.me, keys)
                self._known.set()
            self._site, moved = self._inner.own.fill(site, self._inner.former.status(site), self._inner.client.reached)
            return moved or await self._inner.former.turn(self._site, clock)
        except Rejected as error:  # a file of a newer version, secrets that do not fit: it stays so, and must be seen
            return Reason(Why.DISTRIBUTION, str(error))

    def _rolled_back(self, epoch: int, keys: DeviceKeys) -> Reason | None:
        """The highest epoch that this box was ever in never goes back; in a TPM not even with the disk."""
        if self._highest > epoch:
            return Reason(Why.EPOCH, f"this node was in epoch {self._highest}")
        try:
            floor = self._m.floor(keys)
            check_not_older(epoch, floor.read())
            floor.raise_to(epoch)
        except Rejected as error:
            return Reason(Why.EPOCH, str(error))
        self._highest = epoch
        return None

    async def serve(self, pulse: Pulse, say: Callable[[bool, str], None]) -> None:
        """Answers siblings from when there is a site."""
        while not pulse.stopping and not self._known.is_set():
            await pulse.wait(self._known, 30.0)
        if self._inner is not None:
            await self._inner.server.run(pulse, say)

    async def aclose(self) -> None:
        """Ends what is under way; it is taken up at the next start."""
        if self._inner is not None:
            await self._inner.former.aclose()
            await self._inner.usher.aclose()
            await self._inner.client.aclose()

    def _assemble(self, node: str, keys: DeviceKeys) -> _Inner:
        m = self._m
        tls = SiblingTls(node, keys.signer, self._roster, m.times, m.run_dir)
        hints = HintReader(Path(m.hints_file), m.clock.monotonic) if m.hints_file else lambda node: ()
        client = SiblingClient(tls, m.listener.port or 9411, hints)
        assert self._site is not None
        me = Self(self._site.site, node, thumbprint(keys.signer.public))
        elector = Elector(
            m.box, me, SiblingVoters(client, lambda voter: find(self._roster(), voter)), m.clock, m.uniform
        )
        secrets = SecretsStore(m.state_dir)
        former = Former(
            Parts(
                distribution=m.distribution,
                siblings=SiblingTalk(client, node, keys),
                records=RecordFile(m.ident, m.state_dir),
                secrets=secrets,
                gate=BallotGate(m.box, me, elector, m.grant),
                settle=m.distribution.settle,
                make=lambda site, epoch: make_secrets(site, epoch, m.times),
                clock=m.clock,
                log=m.log,
            )
        )
        usher = Usher(
            m.distribution,
            JoinLease(m.distribution.client),
            m.clock,
            site=lambda: self._site,
            member=lambda: former.member,
            log=m.log,
        )
        table = {**routes(node, keys, former, usher, lambda: self._site), ("POST", PATH): elector.serve}
        return _Inner(
            former, usher, SiblingServer(m.listener, tls, table, m.clock, m.log), client, OwnAddress(m.state_dir)
        )

    def _roster(self) -> tuple[Member, ...]:
        return self._site.roster if self._site is not None else ()
