"""What importing the suite costs on a node: CPU of each process that stays, by the image's own Python and files."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from images.nuc.build import Built

PYTHON = "/opt/galley/bin/python3"
PROCESSES = {
    "edge-commander": ("/opt/galley/bin/edge-commander",),
    "heartbeat": ("/opt/galley/bin/heartbeat",),
    "vessel": ("/opt/galley/bin/vessel",),
    "synthetic-client": ("/opt/galley/bin/synthetic-client",),
    "discovery": ("/opt/galley/bin/galley-discovery",),
    "console": ("/opt/galley/bin/galley-console",),
    "lan-page": ("/opt/galley/bin/galley-lan-page",),
}
"""All that run on a node at rest, as their units start them. With --help each has loaded its modules, and ends."""


def measure(built: Built, rounds: int) -> dict[str, float]:
    """Process to CPU (user and system, s), interpreter included: the least of some rounds, after one that warms up."""
    with _mounted(built) as tree:
        return {name: min([_cpu(tree, words) for _ in range(rounds + 1)][1:]) for name, words in PROCESSES.items()}


@contextmanager
def _mounted(built: Built) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="galley-bench-") as place:
        subprocess.run(["mount", "-t", "erofs", "-o", "loop,ro", str(built.root), place], check=True)
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", place], check=True)


def _cpu(tree: Path, words: Sequence[str]) -> float:
    command = ["chroot", str(tree), PYTHON, "-I", *words, "--help"]
    environ = {"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8"}
    child = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise subprocess.CalledProcessError(child.returncode, command)
    return used.ru_utime + used.ru_stime
