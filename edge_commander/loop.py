"""The node's life: looks at keys, cloud and cluster, moves the state machine, and says why it waits.

Level-triggered: each turn reads everything anew and does the one thing that its state asks for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from structlog.typing import FilteringBoundLogger

from agents.contracts.identity import EnrolAnswer, EnrolStatus, SiteDocument
from agents.contracts.ids import hardware_digest, node_id
from agents.contracts.messages import NodeState
from agents.core.backoff import Backoff
from agents.core.errors import GalleyError, Rejected, Retryable
from agents.core.ports import Clock, MachineFacts
from agents.core.trust import Own
from agents.supervise.daemon import Pulse
from edge_commander.attestation import enrol_request
from edge_commander.cloud import ClockSuspect, Cloud
from edge_commander.distribution.port import Distribution
from edge_commander.enrolment import Verdict, judge
from edge_commander.formation.site import site_of
from edge_commander.forming import Observation, look, own_name
from edge_commander.keys import DeviceKeys, KeysDamaged, KeyStore, KeysUnavailable
from edge_commander.memory import Memory
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.report import Reporter
from edge_commander.settings import CommanderSettings
from edge_commander.states import Event
from edge_commander.times import Times
from edge_commander.tokens import Tokens
from edge_commander.trust.keeper import NodeTrust

if TYPE_CHECKING:
    from edge_commander.formation.assemble import Formation  # only a node that forms its cluster pays for it
    from edge_commander.wiping.entry import Wiping

FORMING_SECONDS = 3.0
STEP_SECONDS = 0.5
LAN_SECONDS = 1.0
"""Between looks while it waits for siblings alone, who answer in milliseconds: nobody's turn should pass unused."""
_ON_SIBLINGS = frozenset({Why.FIRST, Why.SECRETS, Why.TURN})
"""Between two steps of formation when something is under way."""
DISK_SECONDS = 10.0
CODE_SECONDS = 1.0
_KNOWN = frozenset({NodeState.ASSIGNED, NodeState.FORMING, NodeState.READY, NodeState.WIPING, NodeState.RETIRED})
"""The endpoint knows this node's keys, so tokens can be had."""
_TAKEN = frozenset({NodeState.WIPING, NodeState.RETIRED})
"""A wipe may be armed while this loop's turn waits for something: the state is not the loop's any more then."""


@dataclass(frozen=True)
class Parts:
    """What the loop works with. `cloud`, `tokens` None where no endpoint is configured. `code` reads the enrolment
    code; `uniform` spreads waits; `say(ok, text)` tells health. `formation` None where
    the cluster is kept by others. `wiping`: a wipe that was commanded; how far it is, is what people should see."""

    settings: CommanderSettings
    facts: MachineFacts
    issuer: str
    clock: Clock
    memory: Memory
    keys: KeyStore
    cloud: Cloud | None
    tokens: Tokens | None
    times: Times
    distribution: Distribution
    reporter: Reporter
    log: FilteringBoundLogger
    code: Callable[[], str]
    uniform: Callable[[float, float], float]
    say: Callable[[bool, str], None]
    trust: NodeTrust
    formation: Formation | None = None
    wiping: Wiping | None = None


@dataclass
class NodeLoop:
    """One loop; `turn` is one look, and returns how long to wait for the next, s."""

    parts: Parts
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _keys: DeviceKeys | None = None
    _backoff: Backoff = field(default_factory=lambda: Backoff(base=0.5, cap=60.0))
    _enrol_at: float = 0.0
    _site_at: float = 0.0
    _told_code: str | None = None
    _standing: Reason = NOTHING  # the cloud's word on an enrolled node that it no longer accepts

    async def run(self, pulse: Pulse) -> None:
        """Until the daemon stops. A disk that cannot be written is waited for, like everything else."""
        while not pulse.stopping:
            pulse.expect(120.0)
            self.wake.clear()
            try:
                delay = await self.turn()
                await self.parts.reporter.bring_up_to_date()
                await self.parts.trust.report()
            except Retryable as error:
                self.parts.log.warning("cannot go on yet", cause=str(error))
                delay = DISK_SECONDS
            record = self.parts.memory.record
            self.parts.say(record.reason == NOTHING, f"{record.state.value} {record.reason.text}".strip())
            await self._rest(pulse, delay)

    async def _rest(self, pulse: Pulse, delay: float) -> None:
        """Waits, but not longer than until a person put another enrolment code there."""
        end = self.parts.clock.monotonic() + delay
        while not pulse.stopping and not self.wake.is_set():
            left = end - self.parts.clock.monotonic()
            if left <= 0 or (self._told_code is not None and self.parts.code() != self._told_code):
                return
            watching = self._told_code is not None and self.parts.memory.record.state is NodeState.ENROLLING
            await pulse.wait(self.wake, min(left, CODE_SECONDS) if watching else left)

    async def turn(self) -> float:
        """One look. Raises Retryable when the disk cannot be written."""
        record = self.parts.memory.record
        wiping = self.parts.wiping
        if record.state is NodeState.RETIRED and not (wiping is not None and wiping.owes()):
            return 3600.0
        if not await self._identify():
            return self.parts.settings.enrol_seconds
        match self.parts.memory.record.state:
            case NodeState.ENROLLING:
                return await self._enrolling()
            case NodeState.ASSIGNED:
                return await self._assigned()
            case NodeState.FORMING | NodeState.READY:
                return await self._clustered()
            case _:
                if wiping is not None and wiping.reason() != NOTHING:
                    self._because(wiping.reason())
                return min(FORMING_SECONDS, self.parts.settings.observe_seconds)

    async def _identify(self) -> bool:
        """Keys and hardware are this node's; makes keys on a node that never had any."""
        memory, node = self.parts.memory, node_id(self.parts.facts.hardware_id)
        if memory.record.node not in (None, node):
            self._because(Reason(Why.HARDWARE, f"the identity here is {memory.record.node}, this machine is {node}"))
            return False
        try:
            keys = self._keys or await asyncio.to_thread(self.parts.keys.load)
            if keys is None and memory.record.state is not NodeState.FACTORY:
                raise KeysDamaged("the device keys are gone")
            if keys is None:
                keys = await asyncio.to_thread(self.parts.keys.create)
        except KeysUnavailable as error:
            self._because(Reason(Why.TPM, str(error)))
            return False
        except Rejected as error:
            self._because(Reason(Why.KEYS, error.cause))
            return False
        self._keys = keys
        if memory.record.node is None:
            memory.save_record(msgspec.structs.replace(memory.record, node=node))
        if memory.record.state is NodeState.FACTORY:
            self._happened(Event.KEYS_READY)
        if (own := self.own()) is not None:
            self.parts.trust.known_as(own)
        if memory.record.state in _KNOWN and self.parts.tokens is not None:
            self.parts.tokens.known_as(node, keys.signer)
        return True

    async def _enrolling(self) -> float:
        if self.parts.cloud is None:
            self._because(Reason(Why.CONFIG, "no endpoint is configured"))
            return self.parts.settings.enrol_seconds
        verdict = await self._ask_to_enrol(self.parts.cloud)
        if isinstance(verdict, float):
            return verdict
        if not verdict.enrolled:
            self._because(verdict.reason)
            return self._spread(verdict.retry_after)
        memory = self.parts.memory
        now = self.parts.times.now_ms()
        assigned = memory.record.happened(Event.ENROLLED, now)
        memory.save_record(msgspec.structs.replace(assigned, site=verdict.site))
        self._told_code = None
        self.parts.log.info("enrolled", site=verdict.site)
        return 0.0

    async def _ask_to_enrol(self, cloud: Cloud) -> Verdict | float:
        """The cloud's verdict, or how long to wait where it could not be asked; the reason is then set."""
        facts, record = self.parts.facts, self.parts.memory.record
        self._told_code = self.parts.code()
        try:
            answer = await self._enrol(cloud, self._told_code)
            if answer.status is EnrolStatus.CHALLENGE:
                answer = await self._enrol(cloud, self._told_code, answer.challenge)
        except GalleyError as error:
            self._backoff = self._backoff.failed()
            if record.state is NodeState.ENROLLING:
                self._because(self._unreachable(error))
            hint = error.retry_after if isinstance(error, Retryable) else self.parts.settings.enrol_seconds
            return self._backoff.delay(self.parts.uniform, hint)
        self._backoff = self._backoff.succeeded()
        self.parts.times.heard(answer.server_time)
        return judge(answer, node_id(facts.hardware_id), record.site)

    async def _enrol(self, cloud: Cloud, code: str, challenge: str = "") -> EnrolAnswer:
        assert self._keys is not None
        request = await asyncio.to_thread(
            enrol_request,
            self._keys,
            self.parts.facts,
            self.parts.issuer,
            now=self.parts.times.now_s(),
            code=code,
            challenge=challenge,
        )
        return await cloud.enrol(request)

    def _unreachable(self, error: GalleyError) -> Reason:
        if isinstance(error, Rejected):
            return Reason(Why.REFUSED, str(error))
        if isinstance(error, KeysUnavailable):
            return Reason(Why.TPM, str(error))
        clock = self.parts.times.problem()
        if isinstance(error, ClockSuspect) or clock != NOTHING:
            return clock if clock != NOTHING else Reason(Why.CLOCK, "the endpoint's certificate is not valid now")
        return Reason(Why.ENDPOINT)

    async def _assigned(self) -> float:
        problem = await self._refresh_site()
        memory = self.parts.memory
        if memory.record.node is not None and own_name(memory.site, memory.record.node) is not None:
            self._happened(Event.SITE_KNOWN)
            return 0.0
        await self._ask_standing()
        self._because(self._standing if self._standing != NOTHING else problem or Reason(Why.SITE))
        return self._spread(FORMING_SECONDS)

    async def _clustered(self) -> float:
        """Forming and ready: the same look at the cluster; forming ends when it is formed."""
        await self._refresh_site()
        await self._ask_standing()
        record, settings = self.parts.memory.record, self.parts.settings
        forming = record.state is NodeState.FORMING
        clock = self.parts.times.problem()
        name = own_name(self.parts.memory.site, record.node or "")
        if name is None:
            self._because(Reason(Why.SITE, "the roster lacks this node"))
            return settings.observe_seconds
        if (reason := await self._form(clock)) != NOTHING:
            self._because(reason if self._standing == NOTHING else self._standing)
            if reason.why is Why.STARTING:
                return self._spread(STEP_SECONDS)
            return self._spread(LAN_SECONDS if reason.why in _ON_SIBLINGS else FORMING_SECONDS)
        outlook = look(name, await self._observe())
        if forming and outlook.formed and clock == NOTHING:
            self._happened(Event.FORMED)
            return settings.observe_seconds
        standing = self._standing if self._standing != NOTHING else clock
        aside = self.parts.formation.aside if self.parts.formation is not None else NOTHING
        self._because(next((one for one in (standing, outlook.reason) if one != NOTHING), aside))
        return self._spread(min(FORMING_SECONDS, settings.observe_seconds) if forming else settings.observe_seconds)

    async def _form(self, clock: Reason) -> Reason:
        """One step of formation, where the cluster is this site's own; NOTHING for a member."""
        formation, node = self.parts.formation, self.parts.memory.record.node
        if formation is None or node is None or self._keys is None:
            return NOTHING
        site = site_of(node, self.parts.trust.roster, self.parts.trust.orders)
        if site is None:
            return Reason(Why.SITE, "no roster that this node believes names it")
        return await formation.turn(site, self._keys, clock)

    async def _observe(self) -> Observation:
        try:
            health = await self.parts.distribution.health()
            if not health.api:
                return Observation(api=False)
            return Observation(api=True, members=await self.parts.distribution.members())
        except Retryable:
            return Observation(api=False)
        except Rejected as error:
            return Observation(api=False, rejected=str(error))

    async def _refresh_site(self) -> Reason | None:
        """Takes a newer site document, where it is time to look; returns why there is none, for a node without."""
        clock, memory = self.parts.clock, self.parts.memory
        if self.parts.cloud is None or self.parts.tokens is None or clock.monotonic() < self._site_at:
            return None
        # While it forms, siblings that enrol just now, and their keys, are news to hear at once.
        forming = memory.record.state is NodeState.FORMING and self.parts.formation is not None
        settled = memory.record.state is not NodeState.ASSIGNED and memory.site is not None and not forming
        wait = self.parts.settings.site_seconds if settled else min(FORMING_SECONDS, self.parts.settings.site_seconds)
        self._site_at = clock.monotonic() + self._spread(wait)
        try:
            after = self.parts.trust.operators_generation
            cloud = self.parts.cloud
            document = await self.parts.tokens.with_bearer(lambda token: cloud.site(token, after))
        except GalleyError as error:
            return self._unreachable(error) if isinstance(error, Retryable) else Reason(Why.SITE, str(error))
        return await self._take_site(document)

    def own(self) -> Own | None:
        """This node as it knows itself; None before it has its keys."""
        if self._keys is None:
            return None
        hardware = self.parts.facts.hardware_id
        return Own(node_id(hardware), hardware_digest(hardware), self._keys.signer.public, self._keys.sealing)

    async def _take_site(self, document: SiteDocument) -> Reason | None:
        memory, trust = self.parts.memory, self.parts.trust
        if document.node != memory.record.node or document.site != memory.record.site:
            return Reason(Why.MOVED, f"the endpoint's site document is {document.site}'s")
        if (own := self.own()) is not None:
            await trust.take(document, own, self.parts.times.now_s())
        # Generations go back in one case: operators gave the rosters to other keys, and such a roster is this one's.
        stands = trust.roster is not None and trust.roster.roster.generation == document.generation
        if memory.site is not None and document.generation < memory.site.generation and not stands:
            self.parts.log.warning("an older site document was not taken", generation=document.generation)
            return None
        # What is signed has a file of its own; signatures differ each time, and must not be a write each time.
        memory.save_site(msgspec.structs.replace(document, roster_jws=None, roster_keys=[], operators=[], orders=[]))
        return None

    async def _ask_standing(self) -> None:
        """Where the endpoint refuses our assertions, enrolment is asked again: it says why. The node works on."""
        cloud, tokens, now = self.parts.cloud, self.parts.tokens, self.parts.clock.monotonic()
        if cloud is None or tokens is None:
            return
        if not tokens.refused:
            self._standing = NOTHING
            return
        if now < self._enrol_at:
            return
        self._enrol_at = now + self._spread(self.parts.settings.enrol_seconds)
        verdict = await self._ask_to_enrol(cloud)
        if isinstance(verdict, float):
            return
        self._standing = verdict.reason
        if verdict.enrolled:
            tokens.accepted()

    def _happened(self, event: Event) -> None:
        memory = self.parts.memory
        before = memory.record.state
        if before in _TAKEN:
            return
        memory.save_record(memory.record.happened(event, self.parts.times.now_ms()))
        self.parts.log.info("state", before=before.value, why=event.value, state=memory.record.state.value)

    def _because(self, reason: Reason) -> None:
        memory = self.parts.memory
        if (wiping := self.parts.wiping) is not None and wiping.reason() != NOTHING:
            reason = wiping.reason()
        elif memory.record.state in _TAKEN:
            return
        record = memory.record.because(reason, self.parts.times.now_ms())
        if record is not memory.record:
            memory.save_record(record)
            self.parts.log.info("reason", state=record.state.value, reason=reason.text)

    def _spread(self, seconds: float) -> float:
        return seconds * self.parts.uniform(0.9, 1.1)
