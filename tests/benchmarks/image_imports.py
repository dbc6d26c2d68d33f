"""What importing the suite costs on a node: CPU of each process' main module, by the image's own Python and files."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from images.nuc.build import Built

PROCESSES = {
    "edge-commander": "edge_commander.entry, edge_commander.__main__",
    "heartbeat": "heartbeat.__main__",
    "vessel": "vessel.__main__",
    "synthetic-client": "synthetic_client.__main__",
    "discovery": "edge_commander.discovery.__main__",
    "console": "edge_commander.entry, edge_commander.status",
}
"""All that run on a node at rest, with the modules that each has loaded when it begins its work."""
PYTHON = "/opt/galley/bin/python3"


def measure(built: Built, rounds: int) -> dict[str, float]:
    """Process to CPU (user and system, s), interpreter included: the least of some rounds, after one that warms up."""
    with _mounted(built) as tree:
        return {name: min([_cpu(tree, modules) for _ in range(rounds + 1)][1:]) for name, modules in PROCESSES.items()}


@contextmanager
def _mounted(built: Built) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="galley-bench-") as place:
        subprocess.run(["mount", "-t", "erofs", "-o", "loop,ro", str(built.root), place], check=True)
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", place], check=True)


def _cpu(tree: Path, modules: str) -> float:
    command = ["chroot", str(tree), PYTHON, "-I", "-c", f"import {modules}"]
    child = subprocess.Popen(command, env={"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8"})
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise subprocess.CalledProcessError(child.returncode, command)
    return used.ru_utime + used.ru_stime
