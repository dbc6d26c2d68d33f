"""A node's disk as a file: a real GPT made by systemd-repart, and a loop device a partition. Needs root."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.site_in_a_box.gpt import Partition, partitions

SEED = "2f6b4f0e-3d8e-4bb0-9f53-1d3c6a7f7d10"
PIECE = 16 * 1024 * 1024
NAMES = ("journal", "ident", "keep", "conf", "var")


def run(*command: str, **options: object) -> str:
    """A program's output; its error output is in the error where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return str(done.stdout)


class NodeDisk:
    """`sizes` in MiB by label. A context manager: loop devices are given back."""

    def __init__(self, folder: Path, sizes: Mapping[str, int]) -> None:
        self.image = folder / "disk.img"
        definitions = folder / "repart.d"
        definitions.mkdir()
        for number, name in enumerate(NAMES):
            text = f"[Partition]\nType=linux-generic\nLabel={name}\n"
            size = f"SizeMinBytes={sizes[name]}M\nSizeMaxBytes={sizes[name]}M\n"
            (definitions / f"{number}-{name}.conf").write_text(text + size)
        run("systemd-repart", "--empty=create", "--size=auto", "--dry-run=no", f"--seed={SEED}",
            f"--definitions={definitions}", str(self.image))  # fmt: skip
        self.table: dict[str, Partition] = partitions(self.image)
        self.device: dict[str, Path] = {}

    def __enter__(self) -> NodeDisk:
        for name in NAMES:
            one = self.table[name]
            where = ("--offset", str(one.start), "--sizelimit", str(one.size))
            self.device[name] = Path(run("losetup", "--show", "-f", *where, str(self.image)).strip())
        return self

    def __exit__(self, *_: object) -> None:
        for device in self.device.values():
            subprocess.run(["losetup", "-d", str(device)], check=False)

    def raw(self, name: str) -> bytes:
        """A partition's bytes, as the file has them."""
        self._flush()
        one = self.table[name]
        with self.image.open("rb") as file:
            file.seek(one.start)
            return file.read(one.size)

    def count(self, name: str, needle: bytes) -> int:
        """How often a partition holds these bytes, read piece by piece."""
        self._flush()
        one, found, tail = self.table[name], 0, b""
        with self.image.open("rb") as file:
            file.seek(one.start)
            for start in range(0, one.size, PIECE):
                piece = tail + file.read(min(PIECE, one.size - start))
                found += piece.count(needle)
                tail = piece[len(piece) - len(needle) + 1 :]
        return found

    def digest(self, *names: str) -> dict[str, str]:
        """SHA-256 of each partition."""
        return {name: hashlib.sha256(self.raw(name)).hexdigest() for name in names}

    def keep(self, name: str = "first") -> None:
        """Remembers the whole disk as it is."""
        self._flush()
        shutil.copyfile(self.image, self.image.with_suffix(f".{name}"))

    def back(self, name: str = "first") -> None:
        """Puts it back, under the same loop devices."""
        self._flush()
        with self.image.with_suffix(f".{name}").open("rb") as source, self.image.open("r+b") as target:
            shutil.copyfileobj(source, target, 4 * 1024 * 1024)
        self._flush()

    def config(self) -> dict[str, str]:
        """The section `edge_commander.wipe`."""
        return {name: str(self.device[name]) for name in NAMES}

    def _flush(self) -> None:
        for device in self.device.values():
            run("blockdev", "--flushbufs", str(device))
