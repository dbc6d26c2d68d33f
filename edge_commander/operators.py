"""The operators' public keys for commands, out of the file that came with the configuration. Touches that file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from agents.contracts.identity import SiteDocument
from agents.core.command_verify import CommandKeys
from agents.core.errors import Rejected
from agents.core.jose import Jwk, SignatureRefused, canonical, thumbprint


class OperatorsDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{"v": 1, "operators": [JWK, ...]}`."""

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    operators: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=100)]


def read_operators(path: Path | None) -> Mapping[str, Jwk]:
    """Keys by thumbprint; none without a file. Raises Rejected naming file and cause."""
    if path is None:
        return {}
    try:
        document = msgspec.json.decode(path.read_bytes(), type=OperatorsDocument)
    except OSError as error:
        raise Rejected(f"cannot be read: {error.strerror}", file=str(path)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(f"is not an operators document: {error}", file=str(path)) from None
    return {thumbprint(key): key for key in _checked(document.operators, "Ed25519", str(path))}


def command_keys(operators: Mapping[str, Jwk], site: SiteDocument | None) -> CommandKeys:
    """Whose signatures count. A key of the endpoint's that is not ES256, or is an operator's, counts for nothing."""
    endpoint: dict[str, Jwk] = {}
    for jwk in site.command_keys if site is not None else []:
        try:
            key = canonical(jwk)
        except SignatureRefused:
            continue
        if key["crv"] == "P-256":
            endpoint[thumbprint(key)] = key
    return CommandKeys(operators=operators, endpoint=endpoint)


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
