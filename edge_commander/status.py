"""`edge-commander status`: what this node is and waits for, from its socket, else its durable state. Touches both.

With `--console` the screen of a text console, see console/terminal.py.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agents.io.own_version import own_version
from edge_commander.advice import CONFIG, advice
from edge_commander.console.ask import ask
from edge_commander.console.look import daemon_says, read_config, socket_of
from edge_commander.console.terminal import show
from edge_commander.memory import STATE_NAME, read_record
from edge_commander.settings import CommanderSettings
from edge_commander.shown import as_text
from edge_commander.view import of_record


def main(argv: Sequence[str]) -> int:
    """0: running; 3: not running (the durable state is shown); 4: no state; 78: the configuration is wrong, and what is
    known all the same is shown. `--console` shows all of that, and ends with its terminal alone."""
    parser = argparse.ArgumentParser(prog="edge-commander status")
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--console", action="store_true", help="a screen of 80 by 25, drawn anew by itself")
    options = parser.parse_args(argv)
    if options.console:
        return show(options.config)
    found = read_config(options.config)
    document = ask(socket_of(found.settings))
    running = document is not None
    # One that runs has passed its check; one that does not may have ended because of it.
    problems = found.problems or (() if running else daemon_says(options.config))
    for problem in problems:
        print(f"edge-commander: {problem}", file=sys.stderr)
    if document is None:
        own = found.settings.own if found.settings is not None else CommanderSettings()
        directory = Path(own.keys_dir)
        record = read_record(directory)
        if record is None:
            if not problems:
                print(f"edge-commander: does not run, and {directory / STATE_NAME} cannot be read", file=sys.stderr)
            return 78 if problems else 4
        document = of_record(record)
    version, named = own_version(), str(options.config or CONFIG)
    if options.output == "json":
        more = {"running": running, "version": version, "advice": advice(document, named).desk, "problems": problems}
        print(msgspec.json.encode({**msgspec.to_builtins(document), **more}).decode())
    else:
        print(as_text(document, running=running, now_ms=time.time_ns() // 10**6, config=named, version=version))
    return 78 if problems else 0 if running else 3
