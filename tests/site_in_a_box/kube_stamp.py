"""The same programs stamped as the next patch version, so that an upgrade can be played without a second build.

Go's linker writes `-X k8s.io/component-base/version.gitVersion=v1.36.2` as those bytes and a zero into the program. A
version of the same length in their place gives what a build with the other stamp gives. Standard library only.
"""

from __future__ import annotations

import mmap
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

VERSION = re.compile(rb"v1\.[0-9]{1,3}\.[0-9]{1,3}")


class StampError(Exception):
    """The program does not carry the version that it should, or cannot be given another."""


def version_of(program: Path) -> str:
    """What a program says with `--version` (kubeadm: `version -o short`), without `v`."""
    arguments = ["version", "-o", "short"] if program.name == "kubeadm" else ["--version"]
    said = subprocess.run([str(program), *arguments], capture_output=True, timeout=30, check=True).stdout
    found = VERSION.search(said)
    if found is None:
        raise StampError(f"{program} names no version: {said[:200]!r}")
    return found[0].decode().removeprefix("v")


def next_patch(version: str) -> str:
    """`1.36.3` for `1.36.2`; StampError where the text would get longer."""
    minor, _, patch = version.rpartition(".")
    after = f"{minor}.{int(patch) + 1}"
    if len(after) != len(version):
        raise StampError(f"{after} is longer than {version}")
    return after


def restamp(source: Path, target: Path, old: str, new: str) -> None:
    """Writes `target`: the program with one version in place of the other. Checked by asking the result."""
    target.write_bytes(source.read_bytes())
    target.chmod(0o755)
    before, after = f"v{old}\0".encode(), f"v{new}\0".encode()
    with target.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        at = content.find(before)
        while at >= 0:
            content[at : at + len(before)] = after
            at = content.find(before, at + len(before))
    if version_of(target) != new:
        raise StampError(f"{target} says {version_of(target)}, not {new}")


def restamp_all(source: Path, target: Path, programs: Sequence[str], old: str, new: str) -> Path:
    """A folder with those programs stamped anew, and the others as they are; made once, its name given by rename."""
    if target.is_dir():
        return target
    made = target.with_name(target.name + ".new")
    made.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.name in programs:
            restamp(file, made / file.name, old, new)
        elif file.is_file() and not (made / file.name).exists():
            (made / file.name).hardlink_to(file)
    made.rename(target)
    return target
