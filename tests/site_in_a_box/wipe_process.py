"""The early-boot wipe as a process that kills itself (SIGKILL) at its Nth operation on a disk; 0: never.

Usage: python -m tests.site_in_a_box.wipe_process CONFIG IDENT N. Prints how many operations there were, where it lives.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence

from agents.contracts.command import Command
from edge_commander.wipe import boot
from edge_commander.wipe.disk import Disk
from edge_commander.wipe.partitions import Partitions
from edge_commander.wipe.record import Target
from tests.site_in_a_box.kill_at import Counter

boot.PAUSE_SECONDS = 0.0


def main(arguments: Sequence[str]) -> int:
    counter = Counter(int(arguments[2]))
    put, flush, format_ = Disk._put, Disk.flush, Partitions.format

    def counted_put(self: Disk, source: mmap.mmap, offset: int, length: int) -> None:
        put(self, source, offset, length // 1024 * 512)  # killed here, it is half written
        counter.use()
        put(self, source, offset, length)

    def counted_flush(self: Disk) -> None:
        counter.use()
        flush(self)

    def counted_format(self: Partitions, target: Target, command: Command) -> None:
        counter.use()
        format_(self, target, command)
        counter.use()

    Disk._put, Disk.flush, Partitions.format = counted_put, counted_flush, counted_format  # type: ignore[method-assign]
    status = boot.main(["--config", arguments[0], "--mount-ident", arguments[1]])
    print(counter.done)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
