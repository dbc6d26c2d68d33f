"""`edge-commander diagnostics`: makes a bundle on this node, as root; `--dry-run` says what would go into it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from agents.core.errors import ConfigError, GalleyError
from agents.io import config
from edge_commander.diagnostics.plan import describe, plan
from edge_commander.settings import CommanderSettings


def main(argv: Sequence[str]) -> int:
    """0: made, or shown; 1: not made; 77: not root; 78: configuration."""
    parser = argparse.ArgumentParser(prog="edge-commander diagnostics")
    parser.add_argument("--dry-run", action="store_true", help="say what would be collected, and collect nothing")
    parser.add_argument("--config", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    try:
        settings = config.load("edge_commander", CommanderSettings, options.config)
    except ConfigError as error:
        for problem in error.problems:
            print(f"edge-commander: {problem}", file=sys.stderr)
        return 78
    own = settings.own
    if options.dry_run:
        print("\n".join(describe(own, plan(own))))
        return 0
    if os.geteuid() != 0:
        print("edge-commander: a bundle is made by root, who knows which secrets must not be in it", file=sys.stderr)
        return 77
    from edge_commander.diagnostics.collect import collect

    try:
        made = asyncio.run(
            collect(time.strftime("by-hand-%Y%m%d-%H%M%S", time.gmtime()), own, Path(settings.node.state_dir))
        )
    except GalleyError as error:
        print(f"edge-commander: {error}", file=sys.stderr)
        return 1
    print(f"{own.diagnostics.folder}/{made['name']}: {made['bytes']} bytes, SHA-256 {made['sha256']}")
    return 0
