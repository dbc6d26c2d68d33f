"""`edge-commander wipe --dry-run TARGET...`: what a wipe would do on this machine, in words. Reads the targets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from agents.core.errors import ConfigError
from agents.io import config
from edge_commander.settings import CommanderSettings
from edge_commander.wipe import plan as plans
from edge_commander.wipe.luks import LOOK
from edge_commander.wipe.partitions import Partitions
from edge_commander.wipe.record import Target, TargetState


def main(argv: Sequence[str]) -> int:
    """0: shown; 4: a target cannot be looked at; 78: configuration."""
    parser = argparse.ArgumentParser(prog="edge-commander wipe", description="A wipe itself needs operators' command.")
    parser.add_argument("--dry-run", action="store_true", required=True, help="the only form there is")
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.add_argument("targets", nargs="+", choices=[one.value for one in Target], metavar="TARGET")
    options = parser.parse_args(argv)
    try:
        own = config.load("edge_commander", CommanderSettings, options.config).own
    except ConfigError as error:
        for problem in error.problems:
            print(f"edge-commander: {problem}", file=sys.stderr)
        return 78
    disks = Partitions(own.wipe)
    states, status = [], 0
    for target in (one for one in Target if one.value in options.targets):
        state = _look(disks, target)
        if state is None:
            status = 4
        else:
            states.append(state)
    if status == 0:
        for number, step in enumerate(plans.whole(states), 1):
            print(f"{number:2}. {step.describe()}")
    return status


def _look(disks: Partitions, target: Target) -> TargetState | None:
    """Read-only, and shared: a mounted one can be looked at too."""
    path = disks.path(target)
    try:
        with path.open("rb") as file:
            start = file.read(LOOK)
            size = file.seek(0, 2)
    except OSError as error:
        print(f"edge-commander: {target.value}: {path}: {error.strerror}", file=sys.stderr)
        if isinstance(error, FileNotFoundError):
            where = f"this machine has no partition of that name; another place is set by edge_commander.wipe.{target}"
            print(f"edge-commander: {target.value} is looked for at {path}: {where}", file=sys.stderr)
        return None
    return plans.state_of(target, size, start, blank=disks.blank)
