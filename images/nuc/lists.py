"""The recipe's lists: one entry a line, `#` begins a comment. Touches the files beside this one."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent


def read(name: str) -> list[str]:
    """The entries of `<name>.txt`, in the file's order."""
    lines = (line.partition("#")[0].strip() for line in (HERE / f"{name}.txt").read_text().splitlines())
    return [line for line in lines if line]
