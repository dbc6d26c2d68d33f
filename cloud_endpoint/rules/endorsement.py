"""What a device shows of its TPM, read and checked as far as that goes without asking the TPM. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from agents.contracts.identity import EnrolRequest
from agents.core.errors import Rejected
from agents.core.jose import decode64
from agents.core.tpm_public import BORN_IN_TPM, Attributes, read_public
from cloud_endpoint.rules.credential import EndorsementKey, read_endorsement

T = TypeVar("T")


@dataclass(frozen=True)
class Shown:
    """An endorsement key, and the Name of the signing key that is said to lie in its TPM. `answer`: to a challenge,
    empty where there is none. A claim, until the TPM opened a credential for this Name."""

    ek: EndorsementKey
    name: bytes
    answer: bytes = b""


def read_shown(request: EnrolRequest) -> Shown | None:
    """None where the device shows no TPM. Raises Rejected whose `path` is the field at fault.

    The signing key of the request must be the one of `key_public`, and its attributes must say that a TPM made it and
    keeps it: they are part of the Name, so what opens the credential is a key that really has them.
    """
    if not request.ek:
        return None
    ek = _read("ek", lambda: read_endorsement(decode64(request.ek)))
    area = _read("key_public", lambda: read_public(decode64(request.key_public)))
    if _read("key_public", lambda: area.jwk) != {name: request.signing.get(name) for name in ("kty", "crv", "x", "y")}:
        raise Rejected("is not the public area of the signing key", path="$.key_public")
    needed = BORN_IN_TPM | Attributes.SIGN
    if area.attributes & needed != needed:
        raise Rejected("the signing key may have been made outside a TPM, or leave it", path="$.key_public")
    return Shown(ek, area.name, _read("challenge_answer", lambda: decode64(request.challenge_answer)))


def _read(field: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except Rejected as error:
        raise Rejected(error.cause, path=f"$.{field}") from None
