"""How contract types become JSON and back, with errors that name the path. Pure."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from agents.contracts.ids import COMMAND_PATTERN, NODE_PATTERN, RELEASE_PATTERN, REVISION_PATTERN, SITE_PATTERN

T = TypeVar("T")


class Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Base of every wire type: frozen, keyword-only; unknown fields are ignored, so that old reads new."""


class ContractError(ValueError):
    """A document does not meet its contract. The text names the path (`$.messages[3].seq`), never the values."""


WORDS: dict[str, str] = {
    SITE_PATTERN: "that is a site's id, such as store-01234 (lower-case letters, digits and hyphens)",
    NODE_PATTERN: "that is a node's id: n- and 16 of the characters a-z and 2-7",
    REVISION_PATTERN: "that is a whole Git commit id",
    RELEASE_PATTERN: "that is a version, such as 1.36.2 or v1.36.2+k3s1",
    COMMAND_PATTERN: "that is a command's id: 32 hexadecimal digits",
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
        raise ContractError(in_words(str(error))) from None


def in_words(text: str) -> str:
    """A validation error's text, with what is meant in place of a pattern that people know nothing of."""
    for pattern, words in WORDS.items():
        shown = f"matching regex {pattern!r}"
        if shown in text:
            return text.replace(shown, words)
    return text
