"""Signed commands: made, and judged by the same rules at the endpoint and on the node. Pure.

Whose signature a verb needs, and how many, stands in command_rules.py: operators' keys are Ed25519, the endpoint's is
ES256. The state of the node is not judged here: the node alone knows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.command import Command, SignedCommand
from agents.core.command_rules import ill_formed, signatures_needed, wide
from agents.core.jose import Jwk, SignatureRefused, Signer, decode64, encode64
from agents.core.signed import signature, signers_of

COMMAND_TYPE = "galley-command+jws"
MAX_VALID_SECONDS = 24 * 3600
SKEW = 30


class CommandRefused(SignatureRefused):
    """Why a command is not accepted. `code` is stable, for the audit."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class CommandKeys:
    """Public keys by thumbprint. `operators`: Ed25519, those of the operators' document that are not retired;
    `threshold`: the document's; `endpoint`: ES256."""

    operators: Mapping[str, Jwk] = field(default_factory=dict)
    endpoint: Mapping[str, Jwk] = field(default_factory=dict)
    threshold: int = 1


def sign_command(command: Command, signers: Sequence[Signer]) -> SignedCommand:
    """The JWS in general JSON serialisation, one signature a signer."""
    payload = encode64(encode(command))
    return SignedCommand(payload=payload, signatures=[signature(payload, one, COMMAND_TYPE) for one in signers])


def verify_command(
    signed: SignedCommand,
    keys: CommandKeys,
    *,
    site: str,
    node: str,
    now: int,
    after: int,
    challenges: frozenset[str] | None,
    operators_needed: int = 0,
    because: str = "",
) -> Command:
    """The command, where every rule holds; raises CommandRefused.

    `now`: Unix s. `after`: the highest sequence already taken. `challenges`: the node's unused ones, None where
    the judge does not know them (the node always does). `operators_needed`: distinct operators that the judge asks
    for where the rules ask for fewer (but for at least one), and `because` says why.
    """
    command = read_command(signed)
    by_operators, by_endpoint = _signers(signed, keys)
    needed = signatures_needed(command, keys.threshold)
    if not needed and not by_operators and not by_endpoint:
        raise CommandRefused("signature", "no signature by a known key")
    if needed and not by_operators:
        raise CommandRefused("signature", f"{command.verb.value} needs an operator's signature")
    if needed and len(by_operators) < max(needed, operators_needed):
        words = f"{command.verb.value} needs {max(needed, operators_needed)} operator signatures"
        why = because if operators_needed > needed else wide(command)
        raise CommandRefused("threshold", f"{words}, and has {len(by_operators)}: {why}")
    if command.node != node:
        raise CommandRefused("node", "the command is for another node")
    if command.site != site:
        raise CommandRefused("site", "the command is for another site")
    _check_time(command, now)
    if command.sequence <= after:
        raise CommandRefused("sequence", f"sequence {command.sequence} is not above {after}")
    if challenges is not None and command.challenge not in challenges:
        raise CommandRefused("challenge", "the challenge is not one that the node published and nobody used yet")
    if (wrong := ill_formed(command)) is not None:
        raise CommandRefused(*wrong)
    return command


def read_command(signed: SignedCommand) -> Command:
    """What it says, nothing verified. Raises CommandRefused where it is no command."""
    try:
        return decode(decode64(signed.payload), Command)
    except ContractError as error:
        code = "verb" if str(error).endswith("`$.verb`") else "payload"
        raise CommandRefused(code, f"payload: {error}") from None
    except SignatureRefused as error:
        raise CommandRefused("payload", f"payload: {error}") from None


def _check_time(command: Command, now: int) -> None:
    if command.expires <= now:
        raise CommandRefused("expired", "the command has expired")
    if command.issued > now + SKEW:
        raise CommandRefused("issued", "issued lies in the future")
    if not 0 < command.expires - command.issued <= MAX_VALID_SECONDS:
        raise CommandRefused("expires", f"a command is valid for at most {MAX_VALID_SECONDS} s")


def _signers(signed: SignedCommand, keys: CommandKeys) -> tuple[frozenset[str], frozenset[str]]:
    """Thumbprints of operators and endpoint keys that signed. One wrong or unknown signature refuses the whole."""
    try:
        found = signers_of(signed.payload, signed.signatures, {**keys.endpoint, **keys.operators}, COMMAND_TYPE)
    except SignatureRefused as error:
        raise CommandRefused("signature", str(error)) from None
    operators = found & keys.operators.keys()
    return operators, found - operators
