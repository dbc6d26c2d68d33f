"""Answers as tables for people or JSON for scripts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

Row = dict[str, Any]


def as_json(value: Any) -> str:
    """Indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Columns by name (`a.b` reaches in); a column ending in `_ms` is shown as UTC time."""
    cells = [[_head(column) for column in columns]]
    cells += [[_cell(row, column) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(line.rstrip() for line in lines)


def _head(column: str) -> str:
    return column.removesuffix("_ms").split(".")[-1].upper().replace("_", "-")


def _cell(row: Row, column: str) -> str:
    value: Any = row
    for part in column.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return moment(value) if column.endswith("_ms") and value not in (None, "") else cell(value)


def moment(ms: int) -> str:
    """Unix ms as UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def cell(value: Any) -> str:
    """One value in one line; `-` for none."""
    if value is None or value in ("", {}, []):
        return "-"
    if isinstance(value, dict):
        value = ",".join(f"{key}={one}" for key, one in sorted(value.items()))
    if isinstance(value, list):
        value = ",".join(str(one) for one in value)
    # What a device says of itself must not steer the terminal.
    return "".join(character if character.isprintable() else "�" for character in str(value))
