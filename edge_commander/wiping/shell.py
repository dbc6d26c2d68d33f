"""The shell of plan.py: gathers the facts, takes the one step. Touches cluster, endpoint and the machine's root half.

Level-triggered: a turn may be the first after any crash. What must outlive one lies in the ledger (the command), on
`ident` (duty.py), in the cluster (Lease, cordon), at the endpoint (grant) and, from the arming on, on the journal.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import msgspec

from agents.contracts.command import Command, SignedCommand, Verb
from agents.core.errors import GalleyError, Rejected, Retryable
from edge_commander import ledger as ledgers
from edge_commander.forming import own_name
from edge_commander.machine.wire import ARM, OUTBOXES, REBOOT
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.states import Event
from edge_commander.verbs import Outcome
from edge_commander.wiping import plan as plans
from edge_commander.wiping.duty import Duty
from edge_commander.wiping.facts import Progress, duty_of, note, observe
from edge_commander.wiping.means import Means
from edge_commander.wiping.outboxes import Heard, declarations, lost
from edge_commander.wiping.plan import next_step

SNAPSHOT_SECONDS = 900.0
MAX_STEPS = 4
"""In one turn; the rest in the next."""
NAMED = 10
"""So many pods are named."""


@dataclass
class Wiper:
    """One node's wipe. `turn` is one look, and is called until it answers. `reason`: how far it is."""

    means: Means
    reason: Reason = NOTHING
    _own: Progress | None = None
    _told: str = field(default="")

    async def turn(self, command: Command) -> Outcome | None:
        """One look and the steps that can be taken now; None: not ended."""
        taken = self.means.memory.ledger.current
        try:
            own = self._begun(command)
        except Retryable as error:  # nothing may be taken, nor answered, before it is known what would be owed
            self.reason = Reason(Why.WIPING, f"waits: {error}"[:300])
            return None
        if taken is None or taken.signed is None:
            return Outcome("failed", "an older version took it, and did not keep its signature: send it again")
        try:
            outcome = await self._steps(command, taken.signed, own)
        except GalleyError as error:
            outcome = self._troubled(own, error)
        if outcome is not None:
            self.reason = NOTHING
        return outcome

    async def _steps(self, command: Command, signed: SignedCommand, own: Progress) -> Outcome | None:
        for _ in range(MAX_STEPS):
            step = next_step(await observe(self.means, own, command))
            self._say(command, step)
            if isinstance(step, plans.End):
                return self._answered(step)
            if isinstance(step, plans.Wait):
                self.reason = step.reason
                return None
            if not await self._take(step, command, signed, own) or own.failed is not None:
                return own.failed
        return None

    def _begun(self, command: Command) -> Progress:
        m = self.means
        if self._own is None or self._own.command_id != command.id:
            self._own = Progress(command.id, m.clock.monotonic())
            self.reason = Reason(Why.WIPING, "an operator's command was taken")
        duty = m.duties.duty
        if duty is None or duty.command_id != command.id:
            name = own_name(m.memory.site, m.memory.record.node or "") or ""
            fresh = Duty(command_id=command.id, node=name, retire=command.verb is Verb.RETIRE)
            if duty is not None:  # of an earlier wipe, and not all given back
                fresh = msgspec.structs.replace(fresh, lease=duty.lease, cordoned=duty.cordoned)
            m.duties.save(fresh)
        return self._own

    def _troubled(self, own: Progress, error: GalleyError) -> Outcome | None:
        """Something did not answer. Before the arming it is waited for as long as the settings say."""
        m = self.means
        if self._told != str(error):
            self._told = str(error)
            m.log.warning("the wipe waits", cause=self._told)
        self.reason = Reason(Why.WIPING, f"waits: {error}"[:300])
        over = m.clock.monotonic() - own.since >= m.settings.turn_seconds
        if duty_of(self.means).arming or not (over or isinstance(error, Rejected)):
            return None
        return Outcome("failed", str(error))

    def _answered(self, end: plans.End) -> Outcome:
        named = duty_of(self.means).left
        return Outcome(end.result, f"{end.detail}; pods that did not go: {', '.join(named)}" if named else end.detail)

    def _say(self, command: Command, step: plans.Step) -> None:
        told = f"{command.id} {step.describe()}"
        if told != self._told:
            self._told = told
            self.means.log.info("wipe", audit=True, id=command.id, step=step.describe())

    async def _take(self, step: plans.Do | plans.Move, command: Command, signed: SignedCommand, own: Progress) -> bool:
        """One step; False where it goes on beside the turns. Raises Retryable, Rejected."""
        if isinstance(step, plans.Move):
            self._move(step, command, own)
            return True
        self.reason = Reason(Why.WIPING, step.what)
        done = await self._do(step.what, command, signed, own)
        if done:
            own.since = self.means.clock.monotonic()
        return done

    async def _do(self, what: str, command: Command, signed: SignedCommand, own: Progress) -> bool:
        m, me = self.means, duty_of(self.means).node
        match what:
            case "take the lease":
                assert m.cluster is not None
                note(m, lease=True)
                return await m.cluster.take(me, command.id)
            case "ask for the grant":
                own.grant = await m.grant(command.id)
            case "take a snapshot":
                return await self._snapshot(command, own)
            case "cordon":
                assert m.cluster is not None
                note(m, cordoned=True)
                await m.cluster.cordon(me, command.id)
                own.cordoned = True
            case "drain":
                return await self._drain(own)
            case "wait for the outboxes":
                return await self._listen(own)
            case "arm":
                await self._arm(signed, own)
            case "reboot":
                await m.machine.ask(REBOOT)
                own.rebooted = m.clock.monotonic()
            case _:
                await self._declare(own)
        return True

    async def _snapshot(self, command: Command, own: Progress) -> bool:
        """Beside the turns: it may take minutes."""
        if own.snapshot is None:
            own.snapshot = asyncio.create_task(self._kept(f"wipe-{command.id[:12]}"), name="snapshot before a wipe")
        await asyncio.wait([own.snapshot], timeout=0.5)
        return own.snapshot.done()

    async def _kept(self, name: str) -> str:
        try:
            async with asyncio.timeout(SNAPSHOT_SECONDS):
                return await self.means.distribution.snapshot(name)
        except TimeoutError:
            raise Retryable(f"not within {SNAPSHOT_SECONDS:.0f} s") from None

    async def _drain(self, own: Progress) -> bool:
        m, now = self.means, self.means.clock.monotonic()
        assert m.cluster is not None
        own.drain_began = now if own.drain_began is None else own.drain_began
        try:
            left = [one.text for one in await m.cluster.evict(duty_of(self.means).node)]
        except Retryable:
            left = ["unknown, the API did not answer"]
        if left and now - own.drain_began < m.settings.drain_seconds:
            self.reason = Reason(Why.WIPING, f"{len(left)} pods are to go to other nodes")
            return False
        own.drained = True
        if left:
            note(m, left=left[:NAMED])
            m.log.warning("pods did not go in time", audit=True, pods=left[:NAMED], count=len(left))
        return True

    async def _listen(self, own: Progress) -> bool:
        """Until all that was said by now is acknowledged, or the time is over."""
        m, now = self.means, self.means.clock.monotonic()
        try:
            found = await m.machine.ask(OUTBOXES)
        except Retryable:
            found = None
        if own.heard is None:
            own.heard = Heard.first(found, now)
        left = own.heard.left(found)
        if left and now - own.heard.began < m.settings.outbox_seconds:
            self.reason = Reason(Why.WIPING, f"to be acknowledged: {', '.join(left)}")
            return False
        if left:
            m.log.warning("what was not acknowledged goes with the wipe", audit=True, streams=left)
        own.over = True
        return True

    async def _arm(self, signed: SignedCommand, own: Progress) -> None:
        """From here on a crash must find out by the journal whether it was armed."""
        note(self.means, arming=True, boot=self.means.boot_id)
        own.looked = False  # whatever becomes of the answer, the journal is looked at
        try:
            await self.means.machine.ask(ARM, command=signed)
        except Rejected as error:
            note(self.means, arming=False, boot="")
            own.failed = Outcome("failed", f"it could not be armed: {error}")
        else:
            self.means.log.warning("the wipe is armed", audit=True, id=own.command_id)

    async def _declare(self, own: Progress) -> None:
        assert own.journal is not None
        for stream, request in declarations(own.journal):
            try:
                await self.means.declare(stream, request)
            except Rejected as error:  # it is told in the answer's place, and stops nothing
                self.means.log.warning("a loss could not be declared", stream=stream.value, cause=str(error))
        own.declared = True
        self.means.log.info("what the wipe lost was declared", audit=True, ranges=lost(own.journal))

    def _move(self, step: plans.Move, command: Command, own: Progress) -> None:
        """The node's state follows the journal. Raises Retryable."""
        memory, now = self.means.memory, self.means.now_ms()
        if Event.WIPED in step.events:
            memory.save_ledger(ledgers.republished(memory.ledger))
        before = memory.record.state
        record = memory.record
        for event in step.events:
            record = record.happened(event, now, self._why(event, command, own))
        memory.save_record(record)
        if not step.events or step.events[-1] not in (Event.WIPE_ARMED, Event.RETIRED):
            note(self.means, ended=True)
        events = [one.value for one in step.events]
        self.means.log.info("state", before=before.value, why=events, state=record.state.value)

    def _why(self, event: Event, command: Command, own: Progress) -> Reason:
        names = ", ".join(command.targets)
        if event is Event.WIPE_FAILED:
            return Reason(Why.WIPE_FAILED, str(own.journal.get("problem", "")) if own.journal is not None else "")
        if event is Event.WIPE_ARMED:
            return Reason(Why.WIPING, f"{names}: erased at the next start, by command {command.id[:8]}")
        if event is Event.RETIRED:
            return Reason(Why.WIPING, f"retired; {names}: erased at the next start, by command {command.id[:8]}")
        return NOTHING

    async def aclose(self) -> None:
        """Ends a snapshot that is under way; it is taken anew."""
        if self._own is not None and self._own.snapshot is not None:
            self._own.snapshot.cancel()
            await asyncio.gather(self._own.snapshot, return_exceptions=True)
