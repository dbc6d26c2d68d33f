"""`python -m edge_commander.update.gate`: whether an image on trial is well. Runs before boot-complete.target.

Exit 0: the boot loader may count this image as good (systemd-bless-boot does it). Where it is not well in time, the
machine is started again: each start costs a try, and without any left the other root is started.
A line that is down costs no image: what is asked is what the image alone can answer for.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from agents.contracts.messages import NodeState
from agents.core.errors import ConfigError
from agents.io import config
from agents.io.state import StateFile
from edge_commander.console.ask import ask
from edge_commander.reasons import Why
from edge_commander.settings import CommanderSettings
from edge_commander.update.record import OPEN, UpdateRecord
from edge_commander.update.store import NAME
from edge_commander.view import StatusDocument

COUNTED = Path("/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
"""Set by systemd-boot for a boot that it counts (systemd's Boot Loader Interface)."""
LOOK_SECONDS = 5.0
_OUT = (Why.API.value, Why.MEMBER.value, Why.NODE_READY.value)
UNITS = ("galley-edge-commander.service", "galley-heartbeat.service")


def well(record: UpdateRecord | None, status: StatusDocument | None, units: bool) -> str:
    """Empty, or what is missing. A node that was a member must be one again; another one must only be up. Pure.

    State and reason outlive the start: right after it they are of the image before. The members do not, they are seen
    in this start or not at all.
    """
    if not units:
        return "the suite's units are not up"
    if status is None:
        return "Edge Commander does not answer"
    if record is None or record.stage not in OPEN or not record.member:
        return ""
    if status.state is not NodeState.READY or status.reason.startswith(_OUT):
        return f"the node was a member of its cluster, and is {status.state.value} {status.reason}".rstrip()
    if not any(one.ready for one in status.around.members if one.name == status.around.name):
        return "the node was a member of its cluster, and was not seen as a Ready one since the start"
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    """See above."""
    parser = argparse.ArgumentParser(prog="galley-boot-gate", description=__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    if not COUNTED.exists():
        return 0  # nothing is on trial
    try:
        loaded = config.load("edge_commander", CommanderSettings, options.config)
    except ConfigError as error:
        return _leave(f"configuration: {error.problems[0]}")
    own = loaded.own
    socket = Path(own.socket or Path(loaded.node.run_dir) / "identity.sock")
    record = StateFile(Path(own.keys_dir) / NAME, UpdateRecord).peek()
    end = time.monotonic() + own.update.trial_seconds
    told = ""
    while True:
        missing = well(record, ask(socket), _active())
        if not missing:
            _say("this image is well")
            return 0
        if missing != told:
            _say(f"waits: {missing}")
            told = missing
        if time.monotonic() >= end:
            return _leave(missing)
        time.sleep(LOOK_SECONDS)


def _active() -> bool:
    """Each is asked for alone: systemctl(1) says 0 where one of many is active."""
    return all(subprocess.run(["systemctl", "is-active", "--quiet", one], check=False).returncode == 0 for one in UNITS)


def _leave(why: str) -> int:
    _say(f"this image is not well: {why}; the machine is started again")
    subprocess.run(["systemctl", "--no-block", "reboot"], check=False)
    return 1


def _say(text: str) -> None:
    print(f"galley-boot-gate: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
