"""A look at the raw disk of a NUC in QEMU, from outside: its journal, what is on its partitions, and what is not.

The machine may be on: what it wrote is in this host's page cache. Files are read only while it is off.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from edge_commander.wipe.journal import Journal
from edge_commander.wipe.record import WipeRecord
from tests.site_in_a_box.gpt import Partition, partitions
from tests.site_in_a_box.journal_look import JournalLook
from tests.site_in_a_box.tree_print import Entry, tree_print

LUKS = b"LUKS\xba\xbe"
CHUNK = 16 * 1024 * 1024


class RawDisk:
    """`file`: the disk. Its partitions are looked up at each call, as the first boot makes them."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def part(self, label: str) -> Partition:
        """KeyError where there is none of that label."""
        return partitions(self.file)[label]

    @property
    def record(self) -> WipeRecord | None:
        """What the journal says now; None where nothing was ever armed."""
        part = self.part("journal")
        with JournalLook(self.file, part.start, part.size) as device:
            return Journal(device).record

    def count(self, label: str, needle: bytes) -> int:
        """How often it is on a partition, holes of the file left out."""
        found, tail = 0, b""
        for chunk in self._chunks(label):
            data = tail + chunk
            found += data.count(needle)
            tail = data[-len(needle) + 1 :] if len(needle) > 1 else b""
        return found

    def starts(self, label: str) -> bytes:
        """Its first bytes."""
        with self.file.open("rb") as file:
            file.seek(self.part(label).start)
            return file.read(16)

    def files(self, label: str, folder: Path) -> dict[str, Entry]:
        """What an ext4 partition holds, copied into `folder`, its journal replayed in a copy; of a LUKS2 one, a
        digest of all its bytes. The machine must be off."""
        folder.mkdir()
        copy = folder.with_suffix(".ext4")
        part = self.part(label)
        if self.starts(label).startswith(LUKS):
            digest = hashlib.sha256()
            for chunk in self._chunks(label):
                digest.update(chunk)
            return {label: ("encrypted", 0, 0, digest.hexdigest(), ())}
        cut = ["dd", f"if={self.file}", f"of={copy}", "bs=1M", "conv=sparse", "iflag=skip_bytes,count_bytes"]
        words = [f"skip={part.start}", f"count={part.size}", "status=none"]
        subprocess.run([*cut, *words], check=True, timeout=120)
        os.truncate(copy, part.size)
        repaired = subprocess.run(["e2fsck", "-p", str(copy)], capture_output=True, text=True, check=False, timeout=120)
        assert repaired.returncode <= 1, repaired.stdout
        done = subprocess.run(
            ["debugfs", "-R", f"rdump / {folder}", str(copy)], capture_output=True, text=True, check=True, timeout=120
        )
        copy.unlink()
        found = tree_print(folder)
        found.pop("lost+found", None)
        assert len(found) > 1, done.stderr
        return found

    def _chunks(self, label: str) -> Iterator[bytes]:
        """Zeros at their place in memory alone: what is a hole is a chunk's worth of nothing, which no needle is in."""
        part = self.part(label)
        with self.file.open("rb", buffering=0) as file:
            at, end = part.start, part.start + part.size
            while at < end:
                try:
                    start = min(end, os.lseek(file.fileno(), at, os.SEEK_DATA))
                except OSError:  # ENXIO: no more data
                    return
                stop = min(end, os.lseek(file.fileno(), start, os.SEEK_HOLE)) if start < end else end
                if start > at:
                    yield b"\0"
                at = start
                while at < stop:
                    data = os.pread(file.fileno(), min(CHUNK, stop - at), at)
                    yield data
                    at += len(data)
