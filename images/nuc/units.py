"""Which units an image starts: the suite's by their own [Install], the system's by `units.txt` and, with
upstream Kubernetes, `kubernetes-units.txt`. Touches the tree."""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from pathlib import Path

from images.nuc import lists

NOT_HERE = {"galley-endpoint.service"}
"""The cloud's side runs elsewhere."""
UNITS = "usr/lib/systemd/system"


def enable(tree: Path, source: Path) -> None:
    """Links in the read-only /usr: nothing in /etc is needed for it. `source`: the suite's unit files."""
    for file in sorted([*source.glob("*.service"), *source.glob("*.socket")]):
        if file.name in NOT_HERE:
            (tree / UNITS / file.name).unlink(missing_ok=True)
            continue
        for target, kind in _install(file):
            # The suite's daemons hang on a target that the rest does not wait for.
            _link(tree, "galley.target" if target == "multi-user.target" else target, kind, file.name)
    upstream = lists.read("kubernetes-units") if (tree / UNITS / "kubelet.service").exists() else []
    for line in [*lists.read("units"), *upstream]:
        target, _, unit = line.partition(": ")
        _link(tree, target, "wants", unit)
    for unit in lists.read("masked"):
        link = tree / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")


def _install(file: Path) -> Iterator[tuple[str, str]]:
    parser = configparser.RawConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(file.read_text())
    for key, kind in (("WantedBy", "wants"), ("RequiredBy", "requires")):
        for target in parser.get("Install", key, fallback="").split():
            yield target, kind


def _link(tree: Path, target: str, kind: str, unit: str) -> None:
    folder = tree / UNITS / f"{target}.{kind}"
    folder.mkdir(exist_ok=True)
    link = folder / unit
    link.unlink(missing_ok=True)
    link.symlink_to(f"../{unit}")
