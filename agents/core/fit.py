"""Cuts a message's texts and lists to what its contract allows: a long error is reported, if shortened. Pure."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from agents.contracts.codec import encode

T = TypeVar("T", bound=msgspec.Struct)

CUT = "..."
STEPS = ((4096, 1000), (1024, 50), (256, 50), (256, 20), (128, 10), (64, 5))
"""Most characters of a text and most items of a list, tried in turn until the message is small enough."""


def fit(body: T, max_bytes: int) -> T:
    """The message within its contract's lengths and `max_bytes`. Texts with a pattern are left as they are.

    Raises msgspec.ValidationError when something other than a length is out of contract.
    """
    info = inspect.type_info(type(body))
    plain = msgspec.to_builtins(body)
    result = body
    for text, items in STEPS:
        result = msgspec.convert(_walk(plain, info, text, items), type(body))
        if len(encode(result)) <= max_bytes:
            break
    return result


def _walk(value: Any, info: inspect.Type, text: int, items: int) -> Any:
    if isinstance(info, inspect.UnionType):
        return _walk_union(value, info, text, items)
    if isinstance(info, inspect.StrType) and isinstance(value, str):
        limit = text if info.max_length is None else min(info.max_length, text)
        return value if info.pattern or len(value) <= limit else value[: limit - len(CUT)] + CUT
    if isinstance(info, inspect.ListType) and isinstance(value, list):
        limit = items if info.max_length is None else min(info.max_length, items)
        return [_walk(one, info.item_type, text, items) for one in value[:limit]]
    if isinstance(info, inspect.DictType) and isinstance(value, dict):
        return {
            _walk(key, info.key_type, text, items): _walk(one, info.value_type, text, items)
            for key, one in list(value.items())[:items]
        }
    if isinstance(info, inspect.StructType) and isinstance(value, dict):
        types = {field.encode_name: field.type for field in info.fields}
        return {key: _walk(one, types[key], text, items) if key in types else one for key, one in value.items()}
    return value


def _walk_union(value: Any, info: inspect.UnionType, text: int, items: int) -> Any:
    for one in info.types:
        if not isinstance(one, inspect.NoneType) and value is not None:
            value = _walk(value, one, text, items)
    return value
