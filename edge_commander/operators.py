"""Keys that came with the configuration: the first operators' document, pinned roster keys. Touches those files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from agents.contracts.identity import SiteDocument
from agents.contracts.signed import SignedDocument
from agents.core.command_verify import CommandKeys
from agents.core.errors import ConfigError, Rejected
from agents.core.jose import Jwk, SignatureRefused, canonical, thumbprint
from agents.core.operators import Operators, plain_operators, read_operators_document, roster_key_table
from agents.core.trust import TrustPolicy
from agents.core.trust_codes import TrustRefused
from edge_commander.settings import CommanderSettings
from edge_commander.trust.record import Basis

MAX_BYTES = 1024 * 1024


class PlainOperators(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{"v": 1, "operators": [JWK, ...]}`: the form of older configurations, understood for ever as generation 0."""

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    operators: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=100)]


def read_operators(path: Path | None) -> Operators | None:
    """The first operators' document: a signed one, believed because of where it lies, or the plain list. None without
    a file. Raises Rejected naming file and cause."""
    if path is None:
        return None
    try:
        data = _bytes(path)
        if "payload" in msgspec.json.decode(data, type=dict[str, Any]):
            return read_operators_document(msgspec.json.decode(data, type=SignedDocument))
        document = msgspec.json.decode(data, type=PlainOperators)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(f"is not an operators document: {error}", file=str(path)) from None
    except TrustRefused as error:
        raise Rejected(f"is not an operators document: {error.cause}", file=str(path)) from None
    return plain_operators(_checked(document.operators, "Ed25519", str(path)))


def read_roster_keys(path: Path | None) -> Mapping[str, Jwk]:
    """The only keys that may sign rosters: a JWK, or a list of them, public. None of them without a file. Raises
    Rejected naming file and cause."""
    if path is None:
        return {}
    try:
        found = msgspec.json.decode(_bytes(path), type=dict[str, Any] | list[dict[str, Any]])
        return roster_key_table(found if isinstance(found, list) else [found])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(f"holds no roster keys: {error}", file=str(path)) from None
    except SignatureRefused as error:
        raise Rejected(error.cause, file=str(path)) from None


def command_keys(operators: Mapping[str, Jwk], site: SiteDocument | None, threshold: int = 1) -> CommandKeys:
    """Whose signatures count, and how many past a blast radius. A key of the endpoint's that is not ES256, or is an
    operator's, counts for nothing."""
    endpoint: dict[str, Jwk] = {}
    for jwk in site.command_keys if site is not None else []:
        try:
            key = canonical(jwk)
        except SignatureRefused:
            continue
        if key["crv"] == "P-256":
            endpoint[thumbprint(key)] = key
    return CommandKeys(operators=operators, endpoint=endpoint, threshold=threshold)


def _checked(keys: list[dict[str, Any]], curve: str, file: str) -> list[Jwk]:
    found = []
    for index, jwk in enumerate(keys):
        try:
            key = canonical(jwk)
        except SignatureRefused as error:
            raise Rejected(error.cause, file=file, path=f"operators[{index}]") from None
        if key["crv"] != curve:
            raise Rejected(f"must be an {curve} key", file=file, path=f"operators[{index}]")
        found.append(key)
    return found


def _bytes(path: Path) -> bytes:
    """Bounded: a stick may name what never ends, as a device."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise Rejected(f"cannot be read: {error.strerror}", file=str(path)) from None
    if len(data) > MAX_BYTES:
        raise Rejected(f"is larger than {MAX_BYTES} bytes", file=str(path))
    return data


def basis_of(own: CommanderSettings) -> Basis:
    """What came with the configuration. Raises ConfigError naming the setting."""
    try:
        root = read_operators(Path(own.operators_file) if own.operators_file else None)
    except Rejected as error:
        raise ConfigError([f"edge_commander.operators_file: {error}"]) from None
    try:
        pinned = read_roster_keys(Path(own.roster_keys_file) if own.roster_keys_file else None)
    except Rejected as error:
        raise ConfigError([f"edge_commander.roster_keys_file: {error}"]) from None
    policy = TrustPolicy(own.trust or ("endpoint" if root is None else "operators"))
    if policy is TrustPolicy.OPERATORS and root is None:
        raise ConfigError(["edge_commander.trust: `operators` needs operators_file"])
    return Basis(policy, root, pinned)
