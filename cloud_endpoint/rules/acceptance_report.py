"""The report on a site's acceptance: what it says, how an operator signs it, and what the endpoint takes. Pure.

It is the operator's word on what the endpoint showed at that moment, a failed acceptance as well as a good one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.ids import NodeId, SiteId
from agents.contracts.messages import Short, Text
from agents.contracts.signed import SignedDocument
from agents.core.errors import Rejected
from agents.core.jose import Jwk, SignatureRefused, Signer
from agents.core.signed import read_payload, sign_document, signers_of

ACCEPTANCE_TYPE = "galley-acceptance+jws"
MAX_AGE_MS = 15 * 60 * 1000
"""A report is stored so long after it was made at most."""
SKEW_MS = 30_000


class CheckName(StrEnum):
    """What is looked at, in the order that people read it."""

    ENROLLED = "enrolled"
    READY = "ready"
    BEATS = "beats"
    ATLAS = "atlas"
    SYNTHETIC = "synthetic"
    CLOCK = "clock"
    DISKS = "disks"


class Check(Struct, frozen=True, kw_only=True):
    """One line of the checklist; `text`: what was found, with names."""

    name: CheckName
    ok: bool
    text: Text


class AcceptanceReport(Struct, frozen=True, kw_only=True):
    """`at`: the endpoint's clock when it showed the site, Unix ms. `nodes`: those enrolled then, by id. `revision`: of
    the Atlas, empty when none was applied. `checks`: each of CheckName once, in its order."""

    v: int = 1
    site: SiteId
    epoch: Annotated[int, msgspec.Meta(ge=1)]
    generation: Annotated[int, msgspec.Meta(ge=0)]
    at: Annotated[int, msgspec.Meta(ge=0)]
    nodes: Annotated[list[NodeId], msgspec.Meta(max_length=100)]
    revision: Short
    checks: Annotated[list[Check], msgspec.Meta(min_length=len(CheckName), max_length=len(CheckName))]

    @property
    def accepted(self) -> bool:
        """Every check is ok."""
        return all(check.ok for check in self.checks)


class AcceptanceRecord(Struct, frozen=True, kw_only=True):
    """A stored report. `checked_ms`: the report's `at`; `put_ms`: receipt; `signed_by`: the operator whose key `kid`
    it is; `signed`: what was signed, to be verified by anyone with that key."""

    site: SiteId
    epoch: int
    accepted: bool
    checked_ms: int
    put_ms: int
    signed_by: str
    kid: str
    report: AcceptanceReport
    signed: SignedDocument


class AcceptanceRefused(SignatureRefused):
    """A report that is not stored, and why."""


def sign_report(report: AcceptanceReport, signer: Signer) -> SignedDocument:
    """Signed by one operator."""
    return sign_document(report, [signer], ACCEPTANCE_TYPE)


def verify_report(
    signed: SignedDocument, keys: Mapping[str, Jwk], *, site: str, epoch: int, now_ms: int
) -> tuple[AcceptanceReport, list[str]]:
    """The report and the thumbprints of who signed it; raises AcceptanceRefused.

    `keys`: operators' command keys whose word counts at this site, by thumbprint. The signature is judged first.
    """
    try:
        kids = signers_of(signed.payload, signed.signatures, keys, ACCEPTANCE_TYPE)
        report = read_payload(signed, AcceptanceReport)
    except SignatureRefused as error:
        raise AcceptanceRefused(error.cause) from None
    if [check.name for check in report.checks] != list(CheckName):
        raise AcceptanceRefused("it must have each check once, in order")
    if report.site != site:
        raise AcceptanceRefused("it is of another site")
    if report.epoch != epoch:
        raise AcceptanceRefused(f"it is of epoch {report.epoch}, the site's is {epoch}")
    if not now_ms - MAX_AGE_MS <= report.at <= now_ms + SKEW_MS:
        raise AcceptanceRefused(f"it must have been made within the last {MAX_AGE_MS // 60_000} min: verify again")
    return report, sorted(kids)


def check_later(report: AcceptanceReport, last_ms: int | None) -> None:
    """Raises Rejected for a report that is not later than the last one of its site: sent twice, or an older one."""
    if last_ms is not None and report.at <= last_ms:
        raise Rejected("a report of this moment or a later one is stored already", path="$.payload")
