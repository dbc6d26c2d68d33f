"""`python -m edge_commander.wipe.boot`: the wipe, in early boot, before anything of its targets is mounted.

Run by galley-wipe.service. Exit 0: the targets may be mounted. 1: they may not (a wipe is amid its work, or failed):
the units that mount them require this one. Says each step on standard error, which is the console and the journal.
"""

from __future__ import annotations

import argparse
import errno
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from agents.core.errors import ConfigError, Rejected
from agents.io import config
from edge_commander.settings import CommanderSettings
from edge_commander.wipe.disk import Disk
from edge_commander.wipe.engine import Engine
from edge_commander.wipe.evidence import warrant
from edge_commander.wipe.journal import Journal
from edge_commander.wipe.partitions import Partitions
from edge_commander.wipe.record import Phase, WipeRecord

PAUSE_SECONDS = 10.0
"""Between two attempts: a disk may come late."""


def main(argv: Sequence[str] | None = None) -> int:
    """See above."""
    parser = argparse.ArgumentParser(prog="galley-wipe", description=__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    try:
        own = config.load("edge_commander", CommanderSettings, options.config).own
    except ConfigError as error:
        return _stop(f"configuration: {error.problems[0]}", None)
    return run(own)


def run(own: CommanderSettings) -> int:
    """The wipe that the journal holds, if any; returns the exit status."""
    record: WipeRecord | None = None
    try:
        with Disk(Path(own.wipe.journal)) as device:
            journal = Journal(device)
            record = journal.record
            engine = Engine(
                journal, Partitions(own.wipe), lambda: warrant(own), _say, lambda: time.sleep(PAUSE_SECONDS)
            )
            record = engine.run()
    except FileNotFoundError:
        _say(f"{own.wipe.journal}: there is no journal, so there is no wipe")
        return 0
    except OSError as error:
        return _stop(f"{own.wipe.journal}: {error.strerror or error}", record, busy=error.errno == errno.EBUSY)
    except (ConfigError, Rejected) as error:
        return _stop(f"what this node believes cannot be read: {error}", record)
    if record is not None and record.phase is Phase.FAILED:
        _say(f"the wipe {record.id} failed: {record.problem}")
        _say(f"{_names(record)}: not mounted. What a person can do: docs/wipe.md")
        return 1
    return 0


def _stop(text: str, record: WipeRecord | None, *, busy: bool = False) -> int:
    """Nothing can be decided. What was not begun has erased nothing, so the node may start as it is."""
    _say(text)
    return 1 if busy or (record is not None and record.phase is Phase.RUNNING) else 0


def _names(record: WipeRecord) -> str:
    return ", ".join(one.target.value for one in record.targets)


def _say(text: str) -> None:
    print(f"galley-wipe: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
