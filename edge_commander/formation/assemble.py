"""Everything that forms a node's cluster, put together once the node knows its keys and its site. Builds adapters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from agents.contracts.election import PATH
from agents.contracts.identity import Member
from agents.core.errors import Rejected, Retryable
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
from edge_commander.formation.former import Former
from edge_commander.formation.gate import BallotGate, Granting, SiblingVoters
from edge_commander.formation.lease import JoinLease
from edge_commander.formation.own_address import OwnAddress
from edge_commander.formation.parts import Parts
from edge_commander.formation.site import Site
from edge_commander.formation.store import RecordFile
from edge_commander.formation.talk import SLOT, STATUS, SiblingTalk, routes
from edge_commander.formation.usher import Usher
from edge_commander.formation.worker_access import ROUTE as ACCESS
from edge_commander.formation.worker_access import for_servers, give
from edge_commander.keys import DeviceKeys
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.rotation import leaf, rotor
from edge_commander.rotation.lease import RotationLease
from edge_commander.rotation.plan import Life
from edge_commander.rotation.rotor import Rotor
from edge_commander.rotation.store import ProgressFile
from edge_commander.secrets.authority import make_next, make_secrets
from edge_commander.secrets.model import SiteSecrets
from edge_commander.secrets.store import SecretsStore
from edge_commander.settings import UpgradeSettings
from edge_commander.siblings.client import SiblingClient
from edge_commander.siblings.members import find
from edge_commander.siblings.server import SiblingServer
from edge_commander.siblings.tls import SiblingTls
from edge_commander.times import Times

if TYPE_CHECKING:
    from edge_commander.rolling.roller import Roller


@dataclass(frozen=True)
class Means:
    """What formation works with. `grant` None where no endpoint is configured; `floor`: the highest epoch that
    this box was ever in; `uniform` spreads waits; `overlap_hours`: see DistributionSettings; `holds`: whether a
    version's programs lie on this node. `hints_file`: what was heard on the LAN; empty: nothing is."""

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
    overlap_hours: float = 24.0
    holds: Callable[[str], bool] = lambda version: False
    upgrades: UpgradeSettings = field(default_factory=UpgradeSettings)
    hints_file: str = ""


@dataclass(frozen=True)
class _Inner:
    former: Former
    rotor: Rotor
    usher: Usher
    server: SiblingServer
    client: SiblingClient
    own: OwnAddress
    tls: SiblingTls


class Formation:
    """The node's way into its cluster, and its answers to siblings. `turn` from the node's loop, `serve` as a loop."""

    def __init__(self, means: Means) -> None:
        self._m = means
        self._site: Site | None = None
        self._inner: _Inner | None = None
        self._known = asyncio.Event()
        self._highest = 0
        self._worker = False

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
            elif site.is_worker != self._worker:
                await self._inner.former.aclose()
                return Reason(Why.WIPE, "the roster changed this node's role: restart Edge Commander")
            inner = self._inner
            self._site, moved = inner.own.fill(site, inner.former.status(site), inner.client.reached)
            reason = moved or await inner.former.turn(self._site, clock)
            if reason != NOTHING or site.is_worker:  # a worker holds none of the site's secrets
                return reason
            return await inner.rotor.turn(self._site, clock)
        except Rejected as error:  # a file of a newer version, secrets that do not fit: it stays so, and must be seen
            return Reason(Why.DISTRIBUTION, str(error))

    @property
    def generations(self) -> tuple[int, int]:
        """Of the site's secrets: held, and what runs by them; zeros before there are any."""
        return self._inner.rotor.generations if self._inner is not None else (0, 0)

    @property
    def member(self) -> bool:
        """Whether this node is a server of its site's present cluster, by its record."""
        return self._inner is not None and not self._worker and self._is_of_present(self._inner.former)

    @property
    def why_no_server(self) -> str:
        """Why this node is no server of its site's cluster, in words; empty where it is one."""
        if self._inner is None or not self._is_of_present(self._inner.former):
            return "this node is no member of its site's cluster"
        return "this node is a worker, and carries no control plane" if self._worker else ""

    @property
    def left(self) -> str:
        """See Former."""
        return self._inner.former.left if self._inner is not None else ""

    @property
    def is_member(self) -> bool:
        """Whether this node is a server or a worker of its site's present cluster, by its record."""
        return self._inner is not None and self._is_of_present(self._inner.former)

    def leave(self, command: str) -> Reason:
        """Begins to give the membership up, see Former. Raises Retryable."""
        if self._inner is None or self._site is None:
            raise Retryable("nothing is known of the site yet")
        if self._inner.rotor.busy:
            return Reason(Why.TURN, "this node renews its certificates")
        return self._inner.former.leave(self._site, command)

    async def certificates(self) -> Life | None:
        """The life of this node's, looked at now; None where its API server shows none."""
        if self._inner is None or self._site is None:
            return None
        return await self._inner.rotor.life(self._site)

    def renew(self, begin: int | None) -> Reason:
        """Wants the certificates that began then renewed, see Rotor; what that waits for. `None` takes it back."""
        if self._inner is None:
            return NOTHING
        self._inner.rotor.want(begin)
        return self._inner.rotor.reason

    def renew_leaf(self) -> None:
        """A new certificate for the siblings' channel."""
        if self._inner is not None:
            self._inner.tls.renew()

    def _is_of_present(self, former: Former) -> bool:
        return self._site is not None and former.member == self._site.epoch

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

    @property
    def aside(self) -> Reason:
        """What a member waits for that keeps it from nothing."""
        return self._inner.former.aside if self._inner is not None else NOTHING

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
            await self._inner.rotor.aclose()
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
        secrets, lease = SecretsStore(m.state_dir), JoinLease(m.distribution.client)
        siblings = SiblingTalk(client, node, keys)
        rotation = RotationLease(m.distribution.client)
        rotating = self._rotor(siblings, rotation, lease, secrets)
        former = self._former(
            Parts(
                distribution=m.distribution,
                siblings=siblings,
                records=RecordFile(m.ident, m.state_dir),
                secrets=secrets,
                gate=BallotGate(m.box, me, elector, m.grant),
                settle=m.distribution.settle,
                make=lambda site, epoch: make_secrets(site, epoch, m.times),
                clock=m.clock,
                log=m.log,
                ran=rotating.ran,
                roller=lambda: self._roller(lease, rotation.holder),
                now_ms=m.times.now_ms,
                confirmed=lambda: m.times.confirmed,
                reached=lambda: client.reached,
                upgrading=lease.upgrading,
            )
        )
        usher = Usher(
            m.distribution,
            lease,
            m.clock,
            site=lambda: self._site,
            member=lambda: self._is_of_present(former),
            log=m.log,
            upgrading=lease.upgrading,
            renews=rotation.holder,
            wiping=lease.wiping,
        )
        site = lambda: self._site  # noqa: E731
        told = routes(node, keys, former, usher, site, told=rotating.told)
        workers = {
            ACCESS: give(site, former.offered, lambda: self._is_of_present(former), m.times),
            STATUS: told[STATUS],
            SLOT: told[SLOT],
        }
        table = {**for_servers({**told, ("POST", PATH): elector.serve}, site), **workers}
        server = SiblingServer(m.listener, tls, table, m.clock, m.log)
        return _Inner(former, rotating, usher, server, client, OwnAddress(m.state_dir), tls)

    def _rotor(self, siblings: SiblingTalk, lease: RotationLease, joins: JoinLease, secrets: SecretsStore) -> Rotor:
        m = self._m

        def following(held: SiteSecrets, number: int, order: int) -> SiteSecrets:
            return make_next(held, number, order, m.times, keys=m.distribution.name == "kubeadm")

        return Rotor(
            rotor.Parts(
                distribution=m.distribution,
                siblings=siblings,
                lease=lease,
                upgrading=joins.upgrading,
                wiping=joins.wiping,
                secrets=secrets,
                progress=ProgressFile(m.state_dir),
                make=following,
                settle=m.distribution.settle,
                life=leaf.life,
                now_ms=m.times.now_ms,
                clock=m.clock,
                log=m.log,
                overlap_ms=int(m.overlap_hours * 3_600_000),
            )
        )

    def _roller(self, joins: JoinLease, renews: Callable[[], Awaitable[str]]) -> Roller:
        from edge_commander.rolling.cluster import RollingCluster
        from edge_commander.rolling.roller import Means, Roller

        m = self._m
        return Roller(
            Means(
                distribution=m.distribution,
                cluster=RollingCluster(m.distribution.client),
                joins=joins,
                renews=renews,
                wiping=joins.wiping,
                holds=m.holds,
                clock=m.clock,
                log=m.log,
                drain_seconds=m.upgrades.drain_seconds,
                go_on=m.upgrades.stuck == "go-on",
            )
        )

    def _former(self, parts: Parts) -> Former:
        assert self._site is not None
        self._worker = self._site.is_worker
        if not self._worker:
            return Former(parts)
        from edge_commander.formation.worker import WorkerFormer  # only a worker pays for it

        return WorkerFormer(parts)

    def _roster(self) -> tuple[Member, ...]:
        return self._site.members if self._site is not None else ()
