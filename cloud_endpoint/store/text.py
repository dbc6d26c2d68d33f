"""How records become columns and back: JSON in text columns, records from rows. Pure."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from cloud_endpoint.store.port import Row

R = TypeVar("R", bound=msgspec.Struct)


def dump(value: Any) -> str:
    """JSON text of a column."""
    return msgspec.json.encode(value).decode()


def load(text: str | None) -> Any:
    """The value of a JSON column, None for NULL."""
    return None if text is None else msgspec.json.decode(text)


def record(type_: type[R], row: Row, *json_columns: str) -> R:
    """A record from a row with the same names; `json_columns` are decoded, columns it has no field for left out."""
    names = type_.__struct_fields__
    values = {name: row[name] for name in names if name in row}
    for name in json_columns:
        values[name] = load(values[name])
    return msgspec.convert(values, type_)
