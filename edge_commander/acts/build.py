"""Builds the handlers of the verbs on a node out of a daemon's context. What a verb needs is imported when it is first
asked for: a node that is never told anything pays for none of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from structlog.typing import FilteringBoundLogger

from agents.contracts.command import Command, Verb
from agents.core.errors import GalleyError
from agents.core.ports import Clock
from agents.supervise.daemon import Pulse
from edge_commander.acts.upgrade import SECOND_ROOT, OsImage, Upgrades
from edge_commander.distribution.port import Distribution
from edge_commander.forming import own_name, site_names
from edge_commander.memory import Memory
from edge_commander.times import Times
from edge_commander.verbs import Handler, Outcome

if TYPE_CHECKING:
    from edge_commander.acts.cluster import ActsCluster
    from edge_commander.acts.store import ActFile
    from edge_commander.distribution.apart import Apart
    from edge_commander.formation.assemble import Formation

ACTS = "acts.json"
"""As acts/store.py has it, which a node that was never told anything does not import."""
OWED_SECONDS = 60.0
Execute = Callable[[Command], Awaitable[Outcome | None]]
NOT_OURS = "its cluster is kept by others (edge_commander.distribution.kind: existing)"


class Acts:
    """What makes the handlers. `formation`, `apart` None where the cluster is kept by others; `boot`: the boot id of
    now; `reboot`: tells the machine; `image`: writes images, to `second_root`. Each handler is made once."""

    def __init__(
        self,
        *,
        memory: Memory,
        times: Times,
        clock: Clock,
        log: FilteringBoundLogger,
        distribution: Distribution,
        apart: Apart | None,
        formation: Formation | None,
        boot: Callable[[], str],
        reboot: Callable[[], Awaitable[object]],
        drain_seconds: float,
        image: OsImage | None = None,
        second_root: Path = Path(SECOND_ROOT),
    ) -> None:
        self._memory = memory
        self._times = times
        self._clock = clock
        self._log = log
        self._distribution = distribution
        self._apart = apart
        self._formation = formation
        self._boot = boot
        self._machine = reboot
        self._drain_seconds = drain_seconds
        self._image = image
        self._second_root = second_root
        self._store: ActFile | None = None
        self._made: dict[Verb, Execute] = {}
        self._closing: list[Callable[[], Awaitable[None]]] = []

    def handlers(self) -> Mapping[Verb, Handler]:
        """All of them are repeatable: each finds by itself how far it came."""
        makers: dict[Verb, Callable[[], Execute]] = {
            Verb.SNAPSHOT: self._snapshot,
            Verb.REBOOT: self._reboot,
            Verb.REJOIN: self._rejoin,
            Verb.ROTATE: self._rotate,
            Verb.UPGRADE: self._upgrade,
        }
        return {verb: Handler(self._late(verb, make), repeatable=True) for verb, make in makers.items()}

    async def keep(self, pulse: Pulse) -> None:
        """Gives back what a command could not before it was answered, until the daemon stops. No clock ends a turn to
        leave (docs/decisions/0060), so its holder must."""
        while not pulse.stopping:
            if self._memory.ledger.current is None:
                await self.give_back()
            await pulse.sleep(OWED_SECONDS, grace=120.0)

    async def give_back(self) -> None:
        """One try."""
        if self._apart is None or (self._store is None and not (Path(self._memory.directory) / ACTS).exists()):
            return
        store = self._acts()
        if not (owed := store.acts.owed):
            return
        from edge_commander.acts.rejoin import MARK, put_back
        from edge_commander.rolling.gate import Gate

        cluster = self._cluster()
        assert cluster is not None
        try:
            await put_back(Gate(self._apart.client, MARK), cluster, self._me(), owed)
            store.save(msgspec.structs.replace(store.acts, owed=""))
        except GalleyError as error:
            self._log.info("what a command owes has to wait", cause=str(error))
        else:
            self._log.info("what a command owed was given back", audit=True, id=owed)

    async def aclose(self) -> None:
        """Ends what is under way; it is begun again at the next start."""
        for close in self._closing:
            await close()

    def _late(self, verb: Verb, make: Callable[[], Execute]) -> Execute:
        async def execute(command: Command) -> Outcome | None:
            if verb not in self._made:
                self._made[verb] = make()
            return await self._made[verb](command)

        return execute

    def _me(self) -> str:
        return own_name(self._memory.site, self._memory.record.node or "") or ""

    def _acts(self) -> ActFile:
        from edge_commander.acts.store import ActFile

        if self._store is None:
            self._store = ActFile(Path(self._memory.directory))
        return self._store

    def _cluster(self) -> ActsCluster | None:
        from edge_commander.acts.cluster import ActsCluster

        if self._apart is None:
            return None
        memory = self._memory
        return ActsCluster(self._apart, self._apart.client, self._times.now_ms, lambda: site_names(memory.site))

    def _snapshot(self) -> Execute:
        from edge_commander.acts.beside import Beside
        from edge_commander.acts.snapshot import TakesSnapshots

        beside = Beside()
        self._closing.append(beside.aclose)
        return TakesSnapshots(self._distribution, beside, lambda: self._why_no_server).execute

    @property
    def _why_no_server(self) -> str:
        return self._formation.why_no_server if self._formation is not None else NOT_OURS

    def _reboot(self) -> Execute:
        from edge_commander.acts.reboot import Means, Reboots

        return Reboots(
            Means(
                store=self._acts(),
                me=self._me,
                cluster=self._cluster(),
                boot=self._boot,
                machine=self._machine,
                now_ms=self._times.now_ms,
                clock=self._clock,
            )
        ).execute

    def _rotate(self) -> Execute:
        from edge_commander.acts.rotate import Rotates

        if self._formation is None:
            return refusing(f"nothing is renewed here: {NOT_OURS}")
        return Rotates(self._formation, self._acts(), self._clock).execute

    def _rejoin(self) -> Execute:
        from edge_commander.acts.rejoin import MARK, Means, Rejoins
        from edge_commander.rolling.gate import Gate

        cluster = self._cluster()
        if self._formation is None or self._apart is None or cluster is None:
            return refusing(f"this node cannot join anew: {NOT_OURS}")
        return Rejoins(
            Means(
                store=self._acts(),
                memory=self._memory,
                formation=self._formation,
                cluster=cluster,
                own=Gate(self._apart.client, MARK),
                me=self._me,
                now_ms=self._times.now_ms,
                clock=self._clock,
                drain_seconds=self._drain_seconds,
                log=self._log,
            )
        ).execute

    def _upgrade(self) -> Execute:
        return Upgrades(self._image, self._second_root).execute


def refusing(why: str) -> Execute:
    """Whatever it is told."""

    async def execute(command: Command) -> Outcome | None:
        return Outcome("refused", why)

    return execute
