"""The process `python -m edge_commander.console`: the screen alone, without what the other commands need in memory."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge_commander.console.terminal import show

ABOUT = (
    "Shows on this terminal what this node is, what it waits for and what a person can do, drawn anew every two seconds"
    " until Ctrl-C; one screen where the output is no terminal."
)


def main() -> int:
    """4: the terminal is gone."""
    parser = argparse.ArgumentParser(prog="galley-console", description=ABOUT)
    parser.add_argument("--config", type=Path, metavar="FILE", help="read this file alone (and the environment)")
    return show(parser.parse_args().config)


if __name__ == "__main__":
    sys.exit(main())
