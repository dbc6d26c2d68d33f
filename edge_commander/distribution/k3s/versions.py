"""Whether this node may go from one version of k3s to another, and by which steps. Pure.

Rule: no minor release is skipped, and none is gone back to (docs: manual upgrades; Kubernetes version skew policy).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agents.core.errors import Rejected
from edge_commander.distribution.k3s import reference
from edge_commander.distribution.k3s.facts import Facts
from edge_commander.distribution.k3s.plan import UNIT, member
from edge_commander.distribution.k3s.settings import K3sSettings
from edge_commander.distribution.k3s.steps import AwaitReady, CopyFile, Run, Step
from edge_commander.distribution.port import Operation

_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)\+k3s(\d+)")
BINARY_MODE = 0o755


@dataclass(frozen=True)
class Versions:
    """`installed`, `staged`: what the programs say of themselves (empty: not there); `running`: what the Node says."""

    installed: str
    staged: str
    running: str


def said(output: str) -> str:
    """The version in what `k3s --version` prints; empty when it prints none."""
    found = re.match(rf"k3s version ({_VERSION.pattern})", output)
    return found[1] if found else ""


def staged(version: str, settings: K3sSettings) -> str:
    """Where the program of that version is expected. Raises Rejected for what is no version of k3s."""
    _numbers(version)
    return f"{settings.upgrade_dir}/{version}/k3s"


def plan_upgrade(facts: Facts, versions: Versions, version: str, settings: K3sSettings) -> list[Step]:
    """Steps to `version`; `facts.images` are the archives beside the staged program."""
    member(facts, Operation.UPGRADE)
    path = staged(version, settings)
    ready = AwaitReady(facts.marker.node, settings.start_seconds, version)
    steps: list[Step] = []
    if versions.installed != version:
        _allowed(versions.installed, version)
        if versions.staged != version:
            raise Rejected(
                f"is of version {versions.staged}" if versions.staged else f"k3s {version} is not there", file=path
            )
        steps += [
            CopyFile(source, f"{reference.path('images')}/{source.rpartition('/')[2]}", 0o644)
            for source, there in sorted(facts.images.items())
            if not there
        ]
        steps.append(CopyFile(path, settings.binary, BINARY_MODE))
    if steps or versions.running != version or not facts.active:
        steps.append(Run("systemctl", ("restart", "--no-block", UNIT), settings.command_seconds))
    return [*steps, ready]


def _numbers(version: str) -> tuple[int, ...]:
    found = _VERSION.fullmatch(version)
    if found is None:
        raise Rejected(f"{version[:40]!r} is no version of k3s, such as v1.33.1+k3s1", path="version")
    return tuple(int(part) for part in found.groups())


def _allowed(installed: str, version: str) -> None:
    if not installed:
        return
    old, new = _numbers(installed), _numbers(version)
    if new < old:
        raise Rejected(f"k3s does not go back from {installed} to {version}", path="version")
    if new[0] != old[0] or new[1] - old[1] > 1:
        raise Rejected(f"from {installed} to {version} a minor release would be skipped", path="version")
