"""How contract types become JSON and back, with errors that name the path. Pure."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Base of every wire type: frozen, keyword-only; unknown fields are ignored, so that old reads new."""


class ContractError(ValueError):
    """A document does not meet its contract. The text names the path (`$.messages[3].seq`), never the values."""


_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """Compact JSON, UTF-8, fields in declaration order."""
    return _encoder.encode(value)


def decode(data: bytes | str, type_: type[T]) -> T:
    """Reads JSON into `type_`; raises ContractError for malformed JSON or a value out of its contract."""
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError(str(error)) from None
