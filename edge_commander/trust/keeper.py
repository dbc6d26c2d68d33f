"""Keeps the node's trust on `ident` and tells of what it refused. Touches `trust.json`, outbox and log.

A refused document changes nothing; it is alerted once for each code, again only after a newer roster was taken, so an
endpoint in wrong hands cannot fill the outbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
from structlog.typing import FilteringBoundLogger

from agents.contracts.identity import Jwk, SiteDocument
from agents.contracts.messages import Alert, Severity
from agents.contracts.orders import SiteOrder
from agents.core.jose import thumbprint
from agents.core.operators import Operators
from agents.core.ports import Outbox
from agents.core.trust import Own, VerifiedRoster
from agents.core.trust_codes import OPERATORS_CODES, ORDER_CODES, TrustRefused
from agents.io.state import StateFile
from edge_commander.trust.record import Basis, Belief, TrustRecord, believe, take
from edge_commander.trust.view import TrustView

TRUST_NAME = "trust.json"


class NodeTrust:
    """What this node believes. Reading it never waits; `take` stores before it believes."""

    def __init__(self, directory: Path, basis: Basis, outbox: Outbox, log: FilteringBoundLogger) -> None:
        self._file = StateFile(directory / TRUST_NAME, TrustRecord)
        self._basis = basis
        self._outbox = outbox
        self._log = log
        self._own: Own | None = None
        self._belief = believe(basis, self._file.load() or TrustRecord())

    @property
    def roster(self) -> VerifiedRoster | None:
        """The roster that stands; None before the first, and where the configuration backs the stored one no more."""
        return self._belief.roster

    @property
    def orders(self) -> tuple[SiteOrder, ...]:
        """The newest order of each kind that counts for the roster's site and epoch."""
        return self._belief.orders

    @property
    def operators_generation(self) -> int:
        """Of the operators' document that counts; 0 for the plain list of an older configuration, or none."""
        return self._belief.operators.generation if self._belief.operators is not None else 0

    @property
    def operators(self) -> Operators | None:
        """Whose signatures count here; None where none are known."""
        return self._belief.operators

    def operator_keys(self) -> Mapping[str, Jwk]:
        """Operators' keys that may sign commands, by thumbprint."""
        return self._belief.operators.signing if self._belief.operators is not None else {}

    @property
    def threshold(self) -> int:
        """How many operators must sign what goes past a blast radius."""
        return self._belief.operators.threshold if self._belief.operators is not None else 1

    def allowed(self, node: str, signing: Jwk) -> bool:
        """Whether who holds this signing key (public) may speak as this node; False without a roster."""
        return self.roster is not None and self.roster.allowed(node, signing)

    async def take(self, document: SiteDocument, own: Own, now: int) -> Belief:
        """Takes what is good of the endpoint's answer and alerts what is not. `now`: Unix s.

        Raises Retryable when disk or outbox cannot be written; asked again, it goes on where it was.
        """
        belief = take(self._basis, self._belief, document, own, now)
        if belief.record != self._belief.record:
            self._file.save(belief.record)
            if belief.roster is not None and belief.roster is not self._belief.roster:
                self._log.info(
                    "roster taken", audit=True, generation=belief.roster.roster.generation, digest=belief.roster.digest
                )
            for order in belief.orders:
                if order not in self._belief.orders:
                    word = {"version": order.version} if order.version else {}
                    self._log.info("order taken", audit=True, kind=order.kind.value, number=order.number, **word)
        self._belief = belief
        await self.report()
        return self._belief

    async def report(self) -> None:
        """Alerts what was refused and not alerted yet, also what was found at the start. Raises Retryable."""
        for refused in self._belief.refused:
            record = self._belief.record
            if refused.code.value in record.reported:
                continue
            self._log.warning("trust document refused", audit=True, code=refused.code.value, cause=refused.cause)
            alert = Alert(code=_alert_code(refused), severity=Severity.CRITICAL, text=text_of(refused)[:4096])
            await self._outbox.put(alert, durable=True)
            record = msgspec.structs.replace(record, reported=[*record.reported, refused.code.value])
            self._file.save(record)
            self._belief = replace(self._belief, record=record)

    def known_as(self, own: Own) -> None:
        """Who this node is, for status."""
        self._own = own

    def view(self) -> TrustView:
        """For status."""
        operators, roster, own = self._belief.operators, self.roster, self._own
        return TrustView(
            policy=self._basis.policy.value,
            operators=-1 if operators is None else operators.generation,
            roster=0 if roster is None else roster.roster.generation,
            epoch=0 if roster is None else roster.roster.epoch,
            digest="" if roster is None else roster.digest,
            refused="; ".join(dict.fromkeys(map(text_of, self._belief.refused))),
            signing="" if own is None else thumbprint(own.signing),
            sealing="" if own is None else thumbprint(own.sealing),
        )


def text_of(refused: TrustRefused) -> str:
    """Code and cause in one line."""
    return f"{refused.code.value}: {refused.cause}"


def _alert_code(refused: TrustRefused) -> str:
    if refused.code in ORDER_CODES:
        return "order-refused"
    return "operators-refused" if refused.code in OPERATORS_CODES else "roster-refused"
