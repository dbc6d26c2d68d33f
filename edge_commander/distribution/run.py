"""`python -m edge_commander.distribution.run OPERATION`: one operation of the configured distribution, by hand.

For operators on a node, and for tests: what Edge Commander does by itself, with each step said on stderr. The plan is
a JSON file (`{"site", "epoch", "node", "address", "servers", "secrets"}`) that holds the site's secrets: it is refused
unless it is root's alone. Answers with JSON on stdout. Exit 75 (EX_TEMPFAIL) when it may be tried again, 1 when it was
refused, 78 when the configuration is wrong. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import stat
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from agents.core.errors import ConfigError, Rejected, Retryable
from agents.io.clock import SystemClock
from agents.io.config import load
from edge_commander.distribution.choice import make
from edge_commander.distribution.port import ClusterPlan, Operation
from edge_commander.distribution.runner import perform
from edge_commander.distribution.wire import Ask, problem
from edge_commander.settings import CommanderSettings

RETRY = 75
CONFIG = 78


def read_plan(file: Path) -> ClusterPlan:
    """The plan in a file. Rejected when it is not one, or others may read it."""
    try:
        with open(file, "rb", opener=_opened) as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise Rejected("is no plan: not a file", file=str(file))
            if found.st_uid not in (0, os.geteuid()):
                raise Rejected(f"is of uid {found.st_uid}, who could change it: chown root", file=str(file))
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise Rejected("holds secrets and may be read by others: chmod 600", file=str(file))
            return msgspec.json.decode(stream.read(), type=ClusterPlan)
    except OSError as error:
        raise Rejected(f"cannot be read: {error.strerror}", file=str(file)) from None
    except msgspec.MsgspecError as error:
        raise Rejected(f"is no plan: {error}", file=str(file)) from None


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe is refused, not waited for


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m edge_commander.distribution.run", description=__doc__)
    parser.add_argument("operation", choices=[one.value for one in Operation])
    parser.add_argument("argument", nargs="?", default="")
    parser.add_argument("--plan", type=Path)
    parser.add_argument("--config", type=Path)
    options = parser.parse_args(argv)
    try:
        settings = load("edge_commander", CommanderSettings, options.config).own
        plan = read_plan(options.plan) if options.plan is not None else None
        ask = Ask(operation=options.operation, argument=options.argument, plan=plan)
        if text := problem(ask):
            parser.error(text)
        began = time.monotonic()
        one = make(
            settings.distribution,
            Path(settings.keys_dir),
            SystemClock(),
            say=lambda text: _say(f"{time.monotonic() - began:5.1f} s  {text}"),
        )
        answer = asyncio.run(perform(one, ask))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return CONFIG
    except Retryable as error:
        print(f"may be tried again: {error}", file=sys.stderr)
        return RETRY
    except Rejected as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    if ask.operation == Operation.SNAPSHOTS:
        answer = [replace(one, secrets=None) for one in answer]
    print(msgspec.json.encode(answer).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
