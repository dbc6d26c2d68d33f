"""The putting of a release into its slot, as a process that kills itself (SIGKILL) at its Nth operation; 0: never.

Usage: python -m tests.site_in_a_box.install_process SETTINGS FOLDER SLOT N. Settings are JSON of UpdateSettings.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agents.contracts.release import DOCUMENT, ImageRelease
from agents.contracts.signed import SignedDocument
from agents.core.signed import read_payload
from edge_commander.settings import UpdateSettings
from edge_commander.update import install
from edge_commander.wipe.disk import Disk


def main(arguments: Sequence[str]) -> int:
    settings = msgspec.json.decode(arguments[0], type=UpdateSettings)
    folder, slot, at = Path(arguments[1]), arguments[2], int(arguments[3])
    done = 0

    def use() -> None:
        nonlocal done
        done += 1
        if done == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(of: Any, name: str) -> None:
        whole = getattr(of, name)

        def used(*args: Any, **named: Any) -> Any:
            use()
            found = whole(*args, **named)
            use()
            return found

        setattr(of, name, used)

    put = Disk._put

    def counted_put(self: Disk, source: mmap.mmap, offset: int, length: int) -> None:
        put(self, source, offset, length // 1024 * 512)  # killed here, it is half written
        use()
        put(self, source, offset, length)

    Disk._put = counted_put  # type: ignore[method-assign]
    counted(Disk, "flush")
    counted(Path, "unlink")
    counted(Path, "rename")
    counted(install, "_sync")
    document = msgspec.json.decode((folder / DOCUMENT).read_bytes(), type=SignedDocument)
    install.put(slot, read_payload(document, ImageRelease), folder, settings, lambda text: None)
    print(done)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
