"""What the commander tells the cloud: its state, alerts and challenge, each put into the outbox once it is true.

What was put is remembered after it is in the outbox: a crash between the two puts the same message again, never
loses it. State messages are the same by `since`, challenges by value.
"""

from __future__ import annotations

import secrets

import msgspec

from agents.contracts.messages import Alert, Challenge, NodeState, Severity
from agents.core.ports import Outbox
from edge_commander import ledger as ledgers
from edge_commander.memory import Memory
from edge_commander.times import Times

_KNOWN = frozenset({NodeState.ASSIGNED, NodeState.FORMING, NodeState.READY})


class Reporter:
    """Level-triggered: `bring_up_to_date` compares what is true with what was put."""

    def __init__(self, memory: Memory, outbox: Outbox, times: Times) -> None:
        self._memory = memory
        self._outbox = outbox
        self._times = times

    async def bring_up_to_date(self) -> None:
        """Raises Retryable when disk or outbox cannot be written."""
        await self._alerts()
        await self._state()
        if self._memory.record.state in _KNOWN:
            await self._challenge()

    async def _alerts(self) -> None:
        for name in self._memory.damaged():
            if name in self._memory.record.alerted:
                continue
            text = f"{name}: a damaged file was put aside in Edge Commander's directory"
            await self._outbox.put(Alert(code="state-damaged", severity=Severity.CRITICAL, text=text), durable=True)
            alerted = [*self._memory.record.alerted, name]
            self._memory.save_record(msgspec.structs.replace(self._memory.record, alerted=alerted))

    async def _state(self) -> None:
        record = self._memory.record
        if record.reported:
            return
        await self._outbox.put(record.message(), durable=True)
        if record.message() == self._memory.record.message():
            self._memory.save_record(msgspec.structs.replace(self._memory.record, reported=True))

    async def _challenge(self) -> None:
        now = self._times.now_ms()
        self._memory.save_ledger(ledgers.renewed(self._memory.ledger, now, secrets.token_urlsafe(16)))
        new = ledgers.unpublished(self._memory.ledger)
        if new is not None:
            expires = (new.issued + ledgers.CHALLENGE_MS) // 1000
            await self._outbox.put(Challenge(challenge=new.value, expires=expires), durable=True)
            self._memory.save_ledger(ledgers.published(self._memory.ledger, new.value))
