"""The putting of a release into its slot, as a process that kills itself (SIGKILL) at its Nth operation; 0: never.

Usage: python -m tests.site_in_a_box.install_process SETTINGS FOLDER SLOT N. Settings are JSON of UpdateSettings.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agents.contracts.release import DOCUMENT, ImageRelease
from agents.contracts.signed import SignedDocument
from agents.core.signed import read_payload
from edge_commander.settings import UpdateSettings
from edge_commander.update import install
from edge_commander.wipe.disk import Disk
from tests.site_in_a_box.kill_at import Counter


def main(arguments: Sequence[str]) -> int:
    settings = msgspec.json.decode(arguments[0], type=UpdateSettings)
    folder, slot, at = Path(arguments[1]), arguments[2], int(arguments[3])
    counter = Counter(at)
    put = Disk._put

    def counted_put(self: Disk, source: mmap.mmap, offset: int, length: int) -> None:
        put(self, source, offset, length // 1024 * 512)  # killed here, it is half written
        counter.use()
        put(self, source, offset, length)

    Disk._put = counted_put  # type: ignore[method-assign]
    Disk.flush = counter.wrap(Disk.flush, after=True)
    Path.unlink = counter.wrap(Path.unlink, after=True)
    Path.rename = counter.wrap(Path.rename, after=True)
    install.sync_directory = counter.wrap(install.sync_directory, after=True)
    document = msgspec.json.decode((folder / DOCUMENT).read_bytes(), type=SignedDocument)
    install.put(slot, read_payload(document, ImageRelease), folder, settings, lambda text: None)
    print(counter.done)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
