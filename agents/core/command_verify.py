"""Signed commands: made, and judged by the same rules at the endpoint and on the node. Pure.

`wipe retire rejoin upgrade rotate` need operators' keys (Ed25519), as many as the verb's rule says;
`sync snapshot collect-diagnostics reboot` may carry the endpoint's key (ES256) or an operator's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.command import ENDPOINT_MAY_SIGN, Command, SignedCommand
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
    """Public keys by thumbprint. `operators`: Ed25519, from the operators' document; `endpoint`: ES256."""

    operators: Mapping[str, Jwk] = field(default_factory=dict)
    endpoint: Mapping[str, Jwk] = field(default_factory=dict)


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
    operators_needed: int = 1,
) -> Command:
    """The command, where every rule holds; raises CommandRefused.

    `now`: Unix s. `after`: the highest sequence already taken. `challenges`: the node's unused ones, None where
    the judge does not know them (the node always does). `operators_needed`: distinct operators for their verbs.
    """
    command = read_command(signed)
    by_operators, by_endpoint = _signers(signed, keys)
    if command.verb not in ENDPOINT_MAY_SIGN:
        if len(by_operators) < operators_needed:
            raise CommandRefused("signature", f"{command.verb.value} needs {operators_needed} operator signature(s)")
    elif not by_operators and not by_endpoint:
        raise CommandRefused("signature", "no signature by a known key")
    if command.node != node:
        raise CommandRefused("node", "the command is for another node")
    if command.site != site:
        raise CommandRefused("site", "the command is for another site")
    _check_time(command, now)
    if command.sequence <= after:
        raise CommandRefused("sequence", f"sequence {command.sequence} is not above {after}")
    if challenges is not None and command.challenge not in challenges:
        raise CommandRefused("challenge", "the challenge is not one that the node published and nobody used yet")
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
