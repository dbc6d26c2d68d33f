"""How a device shows that its signing key lies in a certain TPM: the port, and the enrolment request that uses it.

Blocks where keys are in a TPM: call it in a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agents.contracts.identity import EnrolRequest
from agents.core.assertion import enrolment_proof
from agents.core.jose import decode64, encode64
from agents.core.ports import MachineFacts

if TYPE_CHECKING:
    from edge_commander.keys import DeviceKeys


@dataclass(frozen=True)
class Evidence:
    """What may be known to all. `ek`: SubjectPublicKeyInfo of the TPM's endorsement key, DER; `key_public`: the
    signing key's TPM2B_PUBLIC."""

    ek: bytes
    key_public: bytes


class Attester(Protocol):
    """A TPM that holds the signing key."""

    def evidence(self) -> Evidence:
        """Raises Retryable, Rejected."""

    def open(self, credential: bytes) -> bytes:
        """The secret in a credential made for this TPM and the signing key: a TPM2B_ID_OBJECT and a
        TPM2B_ENCRYPTED_SECRET. Raises Rejected where it was made for another TPM or key, Retryable."""


def enrol_request(
    keys: DeviceKeys, facts: MachineFacts, issuer: str, *, now: int, code: str, challenge: str = ""
) -> EnrolRequest:
    """The request, signed, and with the challenge answered. `now`: Unix s. Raises Retryable, Rejected."""
    evidence, answer, attester = None, b"", keys.attester
    if attester is not None:
        evidence = attester.evidence()
        answer = attester.open(decode64(challenge)) if challenge else b""
    return EnrolRequest(
        hardware_id=facts.hardware_id,
        signing=keys.signer.public,
        sealing=keys.sealing,
        proof=enrolment_proof(facts.hardware_id, issuer, keys.signer, keys.sealing, now=now),
        code=code,
        hardware=facts.hardware[:256],
        hostname=facts.hostname[:256],
        ek=encode64(evidence.ek) if evidence else "",
        key_public=encode64(evidence.key_public) if evidence else "",
        challenge_answer=encode64(answer),
    )
