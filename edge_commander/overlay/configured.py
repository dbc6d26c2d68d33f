"""The setting `edge_commander.overlay.allow`, read before /etc is mounted. Touches galley.yaml in both layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agents.core.errors import Rejected
from edge_commander.overlay.settings import Pattern


def allow(folders: Sequence[Path], problem: Callable[[str], None]) -> list[str]:
    """What is allowed besides what is built in, by `galley.yaml` and `galley.d/*.yaml`; of each name the first folder's
    file counts, as the overlay will show it. A file that cannot be read is a problem, and counts as empty."""
    found: list[str] = []
    for file in filter(_may_name, _files(folders)):
        from agents.io.yamlfile import read  # most nodes allow nothing of their own, and need no YAML this early

        try:
            section = _below(read(file), "edge_commander", "overlay")
            if isinstance(section, dict) and "allow" in section:
                found = list(msgspec.convert(section["allow"], list[Pattern]))
        except (Rejected, msgspec.ValidationError) as error:
            problem(f"{file}: edge_commander.overlay.allow is not read: {error}")
    return found


def _may_name(file: Path) -> bool:
    """Whether the key `allow` can be in it: in YAML it stands as it is, but for escapes and UTF-16. What else is wrong
    with the file is said by whoever reads all of it."""
    try:
        data = file.read_bytes()
    except OSError:
        return True
    return b"allow" in data or b"\\" in data or data.startswith((b"\xff\xfe", b"\xfe\xff"))


def _files(folders: Sequence[Path]) -> list[Path]:
    names: dict[str, Path] = {}
    for folder in reversed(folders):
        for file in (folder / "galley.yaml", *sorted(folder.glob("galley.d/*.yaml"))):
            if file.is_file():
                names[str(file.relative_to(folder))] = file
    main = [names.pop("galley.yaml")] if "galley.yaml" in names else []
    return main + [names[name] for name in sorted(names)]


def _below(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
