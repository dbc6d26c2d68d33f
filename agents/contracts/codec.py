"""How contract types become JSON and back, with errors that name the path. Pure."""

from __future__ import annotations

import re
from enum import Enum
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from agents.contracts.ids import (
    COMMAND_PATTERN,
    NAME_PATTERN,
    NODE_PATTERN,
    RELEASE_PATTERN,
    REVISION_PATTERN,
    SITE_PATTERN,
)

T = TypeVar("T")


class Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Base of every wire type: frozen, keyword-only; unknown fields are ignored, so that old reads new."""


class ContractError(ValueError):
    """A document does not meet its contract. The text names the path (`$.messages[3].seq`), never the values."""


_SITE = "a site's id, such as store-01234 (lower-case letters, digits and hyphens)"
_SHA256 = "a SHA-256 in 64 hexadecimal digits (0-9, a-f)"
WORDS: dict[str, str] = {
    SITE_PATTERN: _SITE,
    f"^$|{SITE_PATTERN}": _SITE,
    NODE_PATTERN: "a node's id: n- and 16 of the characters a-z and 2-7",
    NAME_PATTERN: "a name of lower-case letters, digits, dots and hyphens, at most 63, such as nuc-1",
    REVISION_PATTERN: "a whole Git commit id",
    RELEASE_PATTERN: "a version, such as 1.36.2 or v1.36.2+k3s1",
    COMMAND_PATTERN: "a command's id: 32 hexadecimal digits",
    "^[0-9a-f]{64}$": _SHA256,
    "^([0-9a-f]{64})?$": _SHA256,
    "^$|^[0-9a-f]{64}$": _SHA256,
    "^([A-Za-z0-9_-]{43})?$": "a key's thumbprint, of 43 letters, digits, hyphens and underscores",
}
"""What patterns mean that people may meet, by pattern."""

_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """Compact JSON, UTF-8, fields in declaration order."""
    return _encoder.encode(value)


def decode(data: bytes | str, type_: type[T]) -> T:
    """Reads JSON into `type_`; raises ContractError for malformed JSON or a value out of its contract."""
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError(in_words(str(error), type_)) from None


def in_words(text: str, type_: Any = None) -> str:
    """A validation error's text, with what is meant in place of a pattern that people know nothing of, and with the
    words that there are for a place of `type_` that takes one of several."""
    cause, at, where = text.partition(" - at `")
    if (pattern := cause.removeprefix("Expected `str` matching regex ")) != cause:
        for one, words in WORDS.items():
            if pattern == repr(one):
                cause = f"must be {words}"
    elif (given := cause.removeprefix("Invalid enum value ")) != cause and (known := _choices(type_, where)):
        cause = f"must be one of {', '.join(known)}, not {given}"
    return cause + at + where


def without_root(text: str) -> str:
    """The same with places as people know them: `site`, not `$.site`."""
    return re.sub(r"(^|`)\$(?:\.(?=\w)|: )", r"\1", text)


def _choices(type_: Any, path: str) -> list[str]:
    """The words that the place at `path` (`$.scopes[0]`) takes; empty where that is not told by one enumeration."""
    for name, item in re.findall(r"\.(\w+)|(\[)", path):
        if item:
            type_ = next(iter(get_args(type_)[-1:]), None)
        elif isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            type_ = get_type_hints(type_).get(name)
        else:
            return []
        parts = [one for one in get_args(type_) if one is not type(None)]
        if get_origin(type_) in (Union, UnionType) and len(parts) == 1:
            type_ = parts[0]
    return [str(one.value) for one in type_] if isinstance(type_, type) and issubclass(type_, Enum) else []
