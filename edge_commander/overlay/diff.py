"""`edge-commander overlay diff`: what /etc has otherwise than the image, in words or as JSON. Reads both layers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agents.core.errors import ConfigError, Retryable
from agents.io import config
from edge_commander.overlay.compare import compare
from edge_commander.settings import CommanderSettings


def main(argv: Sequence[str]) -> int:
    """0: no drift; 1: drift; 3: no overlay here; 4: a layer cannot be read; 78: configuration."""
    parser = argparse.ArgumentParser(prog="edge-commander overlay", description="Exit 1 where there is drift.")
    parser.add_argument("what", choices=("diff",), help="compare /etc with the image")
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--lower", type=Path, metavar="DIR", help="the image's /etc, where it is elsewhere")
    parser.add_argument("--upper", type=Path, metavar="DIR", help="the upper layer, where it is elsewhere")
    parser.add_argument("--userxattr", action="store_true", help="the overlay's marks are user.overlay.*")
    options = parser.parse_args(argv)
    try:
        own = config.load("edge_commander", CommanderSettings, options.config).own.overlay
    except ConfigError as error:
        for problem in error.problems:
            print(f"edge-commander: {problem}", file=sys.stderr)
        return 78
    if options.upper is not None:
        own = msgspec.structs.replace(own, upper=str(options.upper.absolute()))
    try:
        found = compare(own, lower=options.lower, user=options.userxattr)
    except Retryable as error:
        print(f"edge-commander: {error}", file=sys.stderr)
        return 4
    if found is None:
        print(f"edge-commander: there is no overlay of Galley's: {own.upper} or {own.run}/image", file=sys.stderr)
        return 3
    print(msgspec.json.encode(found).decode() if options.output == "json" else found.words())
    return 1 if found.drift else 0
