"""Commands: pulled, verified, taken, done, answered. Nothing on a node listens for the cloud.

Each step is durable before the next: sequence and challenge are spent first, the outcome is kept until the outbox
has it. Killed anywhere, a command is executed at most once and answered.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from agents.contracts.codec import encode
from agents.contracts.command import Command, SignedCommand, Verb
from agents.contracts.messages import Alert, CommandResult, Severity
from agents.core.backoff import Backoff
from agents.core.command_rules import permitted
from agents.core.command_verify import CommandKeys, CommandRefused, verify_command
from agents.core.errors import GalleyError, Retryable
from agents.core.ports import Clock, Outbox
from agents.supervise.daemon import Pulse
from edge_commander import ledger as ledgers
from edge_commander.cloud import Cloud
from edge_commander.memory import Memory
from edge_commander.refusal import claimed_id, spends_sequence
from edge_commander.report import Reporter
from edge_commander.times import Times
from edge_commander.tokens import Tokens
from edge_commander.verbs import Handler, Outcome, run

WAIT_SECONDS = 25.0
"""How long the endpoint may hold an answer (long poll)."""
HELD_SECONDS = 1.0
"""Between two looks at a command in hand that has not ended yet."""


@dataclass(frozen=True)
class CommandParts:
    """What the loop works with. `keys` are read anew for each batch. `seconds`: the wait between two looks."""

    cloud: Cloud
    tokens: Tokens
    memory: Memory
    outbox: Outbox
    reporter: Reporter
    times: Times
    clock: Clock
    handlers: Mapping[Verb, Handler]
    keys: Callable[[], CommandKeys]
    seconds: float
    uniform: Callable[[float, float], float]
    log: FilteringBoundLogger


@dataclass
class CommandLoop:
    """Pulls when an ingest answer says that there is something, and by long poll besides."""

    parts: CommandParts
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _backoff: Backoff = field(default_factory=lambda: Backoff(base=1.0, cap=60.0))

    def hint(self, commands_after: int) -> None:
        """An ingest answer's `commands_after`."""
        if commands_after > self.parts.memory.ledger.consumed:
            self.wake.set()

    async def run(self, pulse: Pulse) -> None:
        """Until the daemon stops. Before enrolment there is nothing to ask for."""
        while not pulse.stopping and not self.parts.tokens.known.is_set():
            await pulse.wait(self.parts.tokens.known, 30.0)
        while not pulse.stopping:
            pulse.expect(WAIT_SECONDS + 60.0)
            try:
                await self.finish()
                delay = await self._look() if self.parts.memory.ledger.current is None else HELD_SECONDS
                self._backoff = self._backoff.succeeded()
            except GalleyError as error:
                self._backoff = self._backoff.failed()
                hint = error.retry_after if isinstance(error, Retryable) else self._backoff.cap
                delay = self._backoff.delay(self.parts.uniform, hint)
            await pulse.wait(self.wake, delay)
            self.wake.clear()

    async def _look(self) -> float:
        """One pull; returns how long to wait for the next, s. Raises Retryable, Rejected."""
        parts = self.parts
        if parts.memory.record.site is None:
            return min(5.0, parts.seconds)
        began = parts.clock.monotonic()
        after = parts.memory.ledger.consumed
        answer = await parts.tokens.with_bearer(lambda token: parts.cloud.commands(token, after, WAIT_SECONDS))
        news = False
        for signed in answer.commands:
            news = await self.handle(signed) or news
            if parts.memory.ledger.current is not None:  # the others wait until it has ended
                return HELD_SECONDS
        if news or parts.clock.monotonic() - began >= WAIT_SECONDS / 2:
            return 0.0  # the long poll works: ask again at once
        if answer.commands:  # known ones, whose answers are still on their way
            return min(5.0, parts.seconds)
        return parts.seconds * parts.uniform(0.9, 1.1)

    async def handle(self, signed: SignedCommand) -> bool:
        """Judges one command, and executes it; False where it was refused before. Raises Retryable."""
        parts = self.parts
        record, ledger = parts.memory.record, parts.memory.ledger
        digest = hashlib.sha256(encode(signed)).hexdigest()
        if digest in ledger.refused:
            return False
        try:
            command = verify_command(
                signed,
                parts.keys(),
                site=record.site or "",
                node=record.node or "",
                now=parts.times.now_s(),
                after=ledger.consumed,
                challenges=ledgers.live(ledger, parts.times.now_ms()),
            )
            if why := permitted(command, record.state):
                raise CommandRefused("state", why)
        except CommandRefused as refused:
            await self._refused(signed, digest, refused)
            return True
        parts.memory.save_ledger(ledgers.take(ledger, command, signed))
        parts.log.info("command taken", audit=True, verb=command.verb.value, id=command.id, sequence=command.sequence)
        if await self._execute(command):
            await self.finish()
        return True

    async def finish(self) -> None:
        """Brings a command in hand to its end: after a crash, or just executed; or nearer to it. Raises Retryable."""
        parts = self.parts
        taken = parts.memory.ledger.current
        if taken is None:
            return
        if not taken.outcome:
            if parts.handlers[taken.command.verb].repeatable:
                if not await self._execute(taken.command):
                    return
            else:
                self._keep(Outcome("failed", "interrupted; whether it was done is not known"))
            taken = parts.memory.ledger.current
            assert taken is not None
        verb = taken.command.verb.value
        result = CommandResult(command_id=taken.command.id, verb=verb, outcome=taken.outcome, detail=taken.detail)
        await parts.outbox.put(result, durable=True)
        parts.memory.save_ledger(ledgers.answered(parts.memory.ledger))
        parts.log.info("command answered", audit=True, verb=verb, id=taken.command.id, outcome=taken.outcome)
        await parts.reporter.bring_up_to_date()  # the next challenge

    async def _execute(self, command: Command) -> bool:
        """Whether it ended."""
        outcome = await run(self.parts.handlers[command.verb], command)
        if outcome is not None:
            self._keep(outcome)
        return outcome is not None

    def _keep(self, outcome: Outcome) -> None:
        memory = self.parts.memory
        memory.save_ledger(ledgers.ended(memory.ledger, outcome.result, outcome.detail[:4096]))

    async def _refused(self, signed: SignedCommand, digest: str, refused: CommandRefused) -> None:
        """Refused commands are audited, answered once, and never executed."""
        parts = self.parts
        claim = claimed_id(signed)
        if claim is not None and refused.code == "sequence":
            if claim.id in parts.memory.ledger.taken:  # replayed: it had its answer
                parts.log.warning("command replayed", audit=True, id=claim.id)
                parts.memory.save_ledger(ledgers.refuse(parts.memory.ledger, digest))
                return
            # An endpoint that was restored from an older store counts sequences again: it must learn that.
            refused = CommandRefused("sequence", f"sequence {claim.sequence} was already used")
        parts.log.warning("command refused", audit=True, code=refused.code, cause=str(refused), id=claim and claim.id)
        text = f"{refused.code}: {refused}"[:4096]
        if claim is not None:
            answer = CommandResult(command_id=claim.id, verb=claim.verb, outcome="refused", detail=text)
            await parts.outbox.put(answer, durable=True)
        else:
            alert = Alert(code="command-refused", severity=Severity.WARNING, text=text)
            await parts.outbox.put(alert, durable=True)
        ledger = ledgers.refuse(parts.memory.ledger, digest)
        if claim is not None and spends_sequence(refused.code):
            ledger = ledgers.skip(ledger, claim.sequence)
        parts.memory.save_ledger(ledger)
