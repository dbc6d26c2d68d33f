"""The process `python -m edge_commander.console`: the screen alone, without what the other commands need in memory."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge_commander.console.terminal import show


def main() -> int:
    """4: the terminal is gone."""
    parser = argparse.ArgumentParser(prog="edge_commander.console", description=__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE")
    return show(parser.parse_args().config)


if __name__ == "__main__":
    sys.exit(main())
