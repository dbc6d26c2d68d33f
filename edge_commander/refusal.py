"""What may be learnt from a command that was refused: its claimed id, and whether its sequence is spent. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

from agents.contracts.codec import ContractError, Struct, decode
from agents.contracts.command import SignedCommand
from agents.core.jose import SignatureRefused, decode64

_SIGNED_CODES = frozenset({"expired", "issued", "expires", "challenge", "target", "args", "state"})
"""Refusals of commands whose signature, node and site were right: only these are believed in their sequence, else
anybody could push it to its end."""


class Claim(Struct, frozen=True, kw_only=True):
    """What the payload says of itself."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    verb: Annotated[str, msgspec.Meta(max_length=64)]
    sequence: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]


def claimed_id(signed: SignedCommand) -> Claim | None:
    """The claim, to answer the sender by; None where the payload cannot be read. Not verified."""
    try:
        return decode(decode64(signed.payload), Claim)
    except (ContractError, SignatureRefused):
        return None


def spends_sequence(code: str) -> bool:
    """Whether a refusal with this code spends the command's sequence."""
    return code in _SIGNED_CODES
