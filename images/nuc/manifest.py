"""The manifest: which versions and bytes of Debian's packages a build found, and how two of them differ.

`manifest.json` beside this file is what the last accepted build found. Comparing is pure; reading touches a tree's dpkg
database and the package cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from images.nuc import chroot
from images.nuc.lists import HERE

FILE = HERE / "manifest.json"
FORMAT = "${binary:Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n"
Package = dict[str, str]
"""`version`, `sha256` of the .deb file, `architecture`."""
Manifest = dict[str, dict[str, Package]]
"""Tree (`root`, `toolbox`) to package name to package."""


def of(tree: Path, debs: Path) -> dict[str, Package]:
    """The packages of a tree that dpkg still knows. Raises BuildError where a package's file is not in the cache."""
    found: dict[str, Package] = {}
    for line in chroot.run("dpkg-query", f"--root={tree}", "-W", "-f", FORMAT).splitlines():
        name, version, architecture, status = line.split("\t")
        if status != "installed":
            continue
        name = name.partition(":")[0]
        file = debs / f"{name}_{version.replace(':', '%3a')}_{architecture}.deb"
        try:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            raise chroot.BuildError(f"{file}: {error.strerror}: the package cache is not whole") from None
        found[name] = {"version": version, "sha256": digest, "architecture": architecture}
    return found


def differences(wanted: Mapping[str, Mapping[str, Package]], found: Mapping[str, Mapping[str, Package]]) -> list[str]:
    """One line each, in name order: what is new, gone, of another version, or of other bytes under the same version."""
    lines = []
    for tree in sorted({*wanted, *found}):
        old, new = wanted.get(tree, {}), found.get(tree, {})
        for name in sorted({*old, *new}):
            was, now = old.get(name), new.get(name)
            if was == now:
                continue
            if was is None or now is None:
                lines.append(f"{tree}: {name}: {'is new' if was is None else 'is gone'}")
            elif was["version"] != now["version"]:
                lines.append(f"{tree}: {name}: {was['version']} is now {now['version']}")
            else:
                lines.append(f"{tree}: {name}: {was['version']} has other bytes than before")
    return lines


def read(file: Path = FILE) -> Manifest:
    """What the last accepted build found; nothing where there is none."""
    try:
        manifest: Manifest = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    return manifest


def write(manifest: Manifest, file: Path = FILE) -> None:
    """As a person reads it, and a diff shows it."""
    file.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
