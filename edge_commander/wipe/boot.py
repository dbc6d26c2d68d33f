"""`python -m edge_commander.wipe.boot`: the wipe, in early boot, before anything of its targets is mounted.

Run by galley-wipe.service. Exit 0: the targets may be mounted. 1: they may not (a wipe is amid its work, or failed):
the units that mount them require this one. Says each step on standard error, which is the console and the journal.
"""

from __future__ import annotations

import argparse
import errno
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

from agents.core.errors import ConfigError, Rejected
from agents.io import config
from edge_commander.settings import CommanderSettings, WipeSettings
from edge_commander.wipe.disk import Disk
from edge_commander.wipe.engine import Engine
from edge_commander.wipe.evidence import warrant
from edge_commander.wipe.journal import Journal
from edge_commander.wipe.partitions import Partitions
from edge_commander.wipe.record import Phase, WipeRecord
from edge_commander.wipe.sealed import opened
from edge_commander.wipe.warrant import Warrant

PAUSE_SECONDS = 10.0
"""Between two attempts: a disk may come late."""
BEGUN = frozenset({Phase.RUNNING, Phase.DONE, Phase.FAILED})
"""An end among them, as it was to be in both slots."""


def main(argv: Sequence[str] | None = None) -> int:
    """See above."""
    parser = argparse.ArgumentParser(prog="galley-wipe", description=__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.add_argument(
        "--mount-ident", type=Path, metavar="DIR", help="mount `ident` there, read-only, to judge by it"
    )
    options = parser.parse_args(argv)
    try:
        own = config.load("edge_commander", CommanderSettings, options.config).own
    except ConfigError as error:
        return _stop(f"configuration: {error.problems[0]}", _at(Path(WipeSettings().journal)))
    return run(own, options.mount_ident)


def run(own: CommanderSettings, mount: Path | None = None) -> int:
    """The wipe that the journal holds, if any; returns the exit status."""
    journal: Journal | None = None
    record: WipeRecord | None = None
    try:
        with Disk(Path(own.wipe.journal)) as device:
            journal = Journal(device)
            disks = Partitions(own.wipe)
            pause = partial(time.sleep, PAUSE_SECONDS)
            engine = Engine(journal, disks, lambda: _believed(own, mount), _say, pause, blank=disks.blank)
            record = engine.run()
    except FileNotFoundError:
        _say(f"{own.wipe.journal}: there is no journal, so there is no wipe")
        return 0
    except OSError as error:
        return _stop(f"{own.wipe.journal}: {error.strerror or error}", journal, busy=error.errno == errno.EBUSY)
    except (ConfigError, Rejected) as error:
        return _stop(f"what this node believes cannot be read: {error}", journal)
    if record is not None and record.phase is Phase.FAILED:
        _say(f"the wipe {record.id} failed: {record.problem}")
        _say(f"{_names(record)}: not mounted. What a person can do: docs/wipe.md")
        return 1
    return 0


def _at(path: Path) -> Journal | None:
    """The journal where it is by default; None where it cannot be read."""
    try:
        with Disk(path) as device:
            return Journal(device)
    except OSError:
        return None


def _believed(own: CommanderSettings, mount: Path | None) -> Warrant:
    """What `ident` says. Where it is to be mounted for that: read-only, with no journal replayed, and only as long."""
    if mount is None:
        return warrant(own)
    with opened(Path(own.wipe.ident)) as device, _mounted(device, mount):
        return warrant(msgspec.structs.replace(own, keys_dir=str(mount)))


@contextmanager
def _mounted(device: Path, mount: Path) -> Iterator[None]:
    run = ["mount", "-t", "ext4", "-o", "ro,noload,nosuid,nodev,noexec", str(device), str(mount)]
    done = subprocess.run(run, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Rejected(f"ident cannot be mounted: {done.stderr.strip()[-200:]}", file=str(device))
    try:
        yield
    finally:
        subprocess.run(["umount", str(mount)], check=False, capture_output=True)


def _stop(text: str, journal: Journal | None, *, busy: bool = False) -> int:
    """Nothing can be decided. What was not begun has erased nothing, so the node may start as it is; whether it was is
    what the journal took last, in this very start perhaps."""
    _say(text)
    record = journal.record if journal is not None else None
    return 1 if busy or (record is not None and record.phase in BEGUN) else 0


def _names(record: WipeRecord) -> str:
    return ", ".join(one.target.value for one in record.targets)


def _say(text: str) -> None:
    print(f"galley-wipe: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
