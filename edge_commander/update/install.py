"""Puts a fetched release into the idle slot, as root. Touches its partition and the ESP.

The order is what makes it safe to be killed anywhere: first no entry starts from the slot, then its root is written
and read back, then its entry appears at once, whole. What is written is hashed as it is written: the folder belongs to
another user, who may change it meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.contracts.release import DOCUMENT, ImageRelease, ReleaseFile
from agents.core.errors import Rejected, Retryable
from agents.core.jose import SignatureRefused
from agents.core.operators import Operators
from agents.core.releases import MAX_BYTES, verify_release
from agents.io.state import sync_directory
from edge_commander.settings import UpdateSettings
from edge_commander.update import entries, slots
from edge_commander.update.plan import other
from edge_commander.update.record import UpdateRecord
from edge_commander.wipe.blocks import CHUNK
from edge_commander.wipe.disk import ALIGNMENT, Disk

FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""The folder belongs to another user: no link is followed, and no pipe waited for."""
DRAFT = ".galley.new"
"""No entry to the boot loader. With its name, all of this folder's names fit one sector of the esp: a rename among them
is there or not, as a sector is."""


def install(
    order: UpdateRecord,
    folder: Path,
    settings: UpdateSettings,
    operators: Operators | None,
    say: Callable[[str], None],
    *,
    take: Callable[[], None] = lambda: None,
) -> str:
    """The slot that the ordered release is in now. Asked again after a crash it does all anew. `take`: called once the
    release was judged, before anything is changed. Raises Rejected, Retryable."""
    running = slots.running(settings)
    if not running:
        raise Rejected("this machine does not run from one of two roots")
    slot = other(running)
    release = _release(folder, operators, order)
    take()
    put(slot, release, folder, settings, say)
    return slot


def put(slot: str, release: ImageRelease, folder: Path, settings: UpdateSettings, say: Callable[[str], None]) -> None:
    """The judged release into that slot, which nothing runs from. Raises Rejected, Retryable.

    The slot's device is held from the first look to the entry: no other process writes it meanwhile. What can be seen
    not to fit is refused before the entry of what is there goes.
    """
    version, files = release.version, release.files(slot)
    kernel = f"kernel-{slot}.efi"
    try:
        place = Path(settings.esp, entries.FOLDER)
        with (
            Disk(slots.device(settings, slot)) as disk,
            _opened(folder / "root.img", release.root) as root,
            _opened(folder / kernel, files[kernel]) as image,
        ):
            if disk.size < release.root.size:
                raise Rejected(f"the release's root has {release.root.size} bytes, its partition {disk.size}")
            present = entries.of_slot(entries.read(one.name for one in place.iterdir()), slot)
            (place / DRAFT).unlink(missing_ok=True)  # of a start that was cut off
            _check_room(place, files[kernel], present)
            for one in present:
                say(f"remove the boot entry {one.name}: its root is about to change")
                (place / one.name).unlink()
            sync_directory(place)
            say(f"write release {version} to root-{slot}")
            write_root(root, release.root, disk)
            say(f"add the boot entry {entries.new(version, slot)}")
            _add(image, files[kernel], place / entries.new(version, slot))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Retryable(f"the release cannot be put in place: {where}{error.strerror}") from None


def write_root(source: _Reader, wanted: ReleaseFile, disk: Disk) -> None:
    """Copies, flushes, and reads back past the page cache. Raises Rejected where it is another file than wanted, or
    the device does not keep it; OSError."""
    seen = hashlib.sha256()
    for offset in range(0, wanted.size, CHUNK):
        data = source.read(min(CHUNK, wanted.size - offset))
        seen.update(data)
        disk.write(offset, data.ljust(-(-len(data) // ALIGNMENT) * ALIGNMENT, b"\0"))
    disk.flush()
    if seen.hexdigest() != wanted.sha256:
        raise Rejected("is not what the release says", file=str(source.path))
    read = hashlib.sha256()
    for offset in range(0, wanted.size, CHUNK):
        piece = min(CHUNK, wanted.size - offset)
        read.update(disk.read(offset, -(-piece // ALIGNMENT) * ALIGNMENT)[:piece])
    if read.hexdigest() != wanted.sha256:
        raise Rejected("the idle root's device does not keep what is written to it")


def _add(source: _Reader, wanted: ReleaseFile, target: Path) -> None:
    draft = target.with_name(DRAFT)
    data = source.read(wanted.size)
    if hashlib.sha256(data).hexdigest() != wanted.sha256:
        raise Rejected("is not what the release says", file=str(source.path))
    with draft.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    draft.rename(target)
    sync_directory(target.parent)


def _release(folder: Path, operators: Operators | None, order: UpdateRecord) -> ImageRelease:
    file = folder / DOCUMENT
    try:
        with os.fdopen(os.open(file, FLAGS), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise Rejected("is no file", file=str(file))
            data = stream.read(MAX_BYTES + 1)
        if hashlib.sha256(data).hexdigest() != order.sha256:
            raise Rejected("is not the document that the command names", file=str(file))
        return verify_release(data, operators, order.version)
    except OSError as error:
        raise Rejected(f"cannot be read: {error.strerror}", file=str(file)) from None
    except SignatureRefused as error:
        raise Rejected(f"the release is refused: {error.cause}", file=str(file)) from None


def _check_room(place: Path, kernel: ReleaseFile, goes: list[entries.Entry]) -> None:
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize + sum((place / one.name).stat().st_size for one in goes)
    if free < kernel.size + CHUNK:
        raise Rejected(f"{free >> 20} MiB are free, the kernel has {kernel.size >> 20}", file=str(place))


@contextmanager
def _opened(path: Path, wanted: ReleaseFile) -> Iterator[_Reader]:
    descriptor = os.open(path, FLAGS)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != wanted.size:
            raise Rejected("is not a file of the release's size", file=str(path))
        yield _Reader(file.read, path)


class _Reader:
    def __init__(self, read: Callable[[int], bytes], path: Path) -> None:
        self._read = read
        self.path = path

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        data = self._read(count)
        if len(data) != count:
            raise Rejected("became shorter while it was read", file=str(self.path))
        return data
