"""Who may join: one table from what is known of a device to the cloud's word on it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agents.contracts.identity import EnrolStatus

MAX_CODE_TRIES = 10
SECOND_KEY, OTHER_TPM = "second-key", "other-tpm"
"""Codes of the alerts."""


class Proof(StrEnum):
    """How the shipping list wants a device to be proven."""

    CODE = "code"
    APPROVAL = "approval"
    TPM = "tpm"


class DeviceStatus(StrEnum):
    """Of a device that was enrolled."""

    ENROLLED = "enrolled"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Known:
    """What the store knows. `same_keys`: the enrolled device has exactly these keys. `refused`: a person refused
    exactly these keys. `code_matches`: None when none was given. `ek_matches`: whether the endorsement key shown is
    the listed one, None when none was shown. `answer_right`: of the TPM's challenge, None when it has none to answer.
    """

    device: DeviceStatus | None = None
    same_keys: bool = False
    proof: Proof | None = None
    code_used: bool = False
    code_tries: int = 0
    code_matches: bool | None = None
    ek_matches: bool | None = None
    answer_right: bool | None = None
    refused: bool = False


@dataclass(frozen=True)
class Decision:
    """The answer, and what to store with it: `enrol` registers the keys and burns the code. `alert`: its code."""

    status: EnrolStatus
    reason: str
    enrol: bool = False
    alert: str = ""
    count_try: bool = False


def decide(known: Known) -> Decision:
    """The decision table, first rule that fits."""
    if known.device is DeviceStatus.ENROLLED and known.same_keys:
        return Decision(EnrolStatus.ENROLLED, "enrolled")
    if known.refused:
        return Decision(EnrolStatus.REFUSED, "an operator refused this device")
    if known.device is not None:
        return _known_device(known)
    return _newcomer(known)


def _known_device(known: Known) -> Decision:
    if known.device is DeviceStatus.ENROLLED:
        return Decision(EnrolStatus.QUARANTINED, "another key is enrolled for this hardware id", alert=SECOND_KEY)
    if known.same_keys:
        return Decision(EnrolStatus.REFUSED, "this device was revoked")
    return Decision(EnrolStatus.QUARANTINED, "the device enrolled for this hardware id was revoked", alert=SECOND_KEY)


def _newcomer(known: Known) -> Decision:
    if known.proof is None:
        return Decision(EnrolStatus.PENDING, "the hardware id is not on the shipping list: an operator must approve it")
    if known.proof is Proof.APPROVAL:
        return Decision(EnrolStatus.PENDING, "an operator must approve this device")
    return _by_tpm(known) if known.proof is Proof.TPM else _by_code(known)


def _by_tpm(known: Known) -> Decision:
    """The listed endorsement key must be shown, and then be proven: anybody can show what is no secret."""
    if known.ek_matches is None:
        return Decision(
            EnrolStatus.PENDING, "the shipping list wants its TPM, which it does not show: an operator must approve it"
        )
    if not known.ek_matches:
        return Decision(EnrolStatus.REFUSED, "its TPM is not the one of the shipping list", alert=OTHER_TPM)
    if known.answer_right is None:
        return Decision(EnrolStatus.CHALLENGE, "its TPM must open the challenge")
    if not known.answer_right:
        return Decision(EnrolStatus.REFUSED, "its TPM did not open the challenge", alert=OTHER_TPM)
    return Decision(EnrolStatus.ENROLLED, "enrolled", enrol=True)


def _by_code(known: Known) -> Decision:
    if known.code_matches is None:
        return Decision(EnrolStatus.PENDING, "no one-time code was given: an operator must approve this device")
    if known.code_used or known.code_tries >= MAX_CODE_TRIES:
        return Decision(
            EnrolStatus.PENDING, "the one-time code is no longer valid: an operator must approve this device"
        )
    if not known.code_matches:
        return Decision(EnrolStatus.REFUSED, "the one-time code is wrong", count_try=True)
    return Decision(EnrolStatus.ENROLLED, "enrolled", enrol=True)
