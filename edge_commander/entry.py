"""The command `edge-commander`: the daemon's modules are loaded where the daemon is what runs.

Its subcommands need a third of them at most; the console is a process of its own that runs as long as the node does.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "status": "what this node is and waits for",
    "hardware": "what the shipping list must say of this machine",
    "diagnostics": "makes a bundle of logs and states, without secrets (--dry-run)",
    "wipe": "what a wipe would do here (--dry-run)",
    "overlay": "what of /etc differs from the image (diff)",
    "stick": "what is wrong with the settings on a stick, before it travels (check FOLDER)",
}


MODULES = {
    "status": "edge_commander.status",
    "hardware": "edge_commander.hardware",
    "diagnostics": "edge_commander.diagnostics.command",
    "wipe": "edge_commander.wipe.dry_run",
    "overlay": "edge_commander.overlay.diff",
    "stick": "edge_commander.machine_settings.desk",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the daemon or a subcommand; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in MODULES:
        status: int = import_module(MODULES[arguments[0]]).main(arguments[1:])
        return status
    gc.disable()  # as commands of an image do while they load: nothing of it is garbage
    from edge_commander.__main__ import daemon

    gc.freeze()
    gc.enable()
    return daemon(arguments)
