"""This host as k3s' operations need it: paths below a root, files replaced durably, programs run bounded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

from agents.core.errors import Rejected, Retryable
from agents.io.scrub import scrub_text
from agents.io.state import sync_directory, write_durably
from edge_commander.distribution.k3s import reference
from edge_commander.distribution.k3s.facts import Facts, Marker
from edge_commander.distribution.k3s.files import GATE, MAY_FORM, TOKEN, File, mark
from edge_commander.distribution.k3s.layout import AUTHORITIES
from edge_commander.distribution.k3s.plan import TREES, UNIT
from edge_commander.distribution.k3s.settings import K3sSettings

SECRET_FILES = (
    *(reference.path(name) for _, *names in AUTHORITIES for name in names),
    reference.path("service-key"),
    TOKEN,
)
KEPT_FILES = (*SECRET_FILES, reference.path("config"), reference.path("registries"), GATE, MAY_FORM)
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.lz4", ".tar.bz2")
_ACTIVE = frozenset({"active", "activating", "reloading"})
_MAX_SAID = 400
_CHUNK = 1024 * 1024
_MAX_OUTPUT = 64 * 1024
_KILL_SECONDS = 5.0


class Host:
    """`root`: what `/` is; `systemctl`: the program. Tests give others."""

    def __init__(self, settings: K3sSettings, root: Path = Path("/"), systemctl: str = "systemctl") -> None:
        self.root = root
        self._programs = {
            "k3s": str(self.place(settings.binary)),
            "killall": str(self.place(settings.killall)),
            "systemctl": systemctl,
        }

    def place(self, path: str) -> Path:
        """Where an absolute path lies."""
        return self.root / path.lstrip("/")

    async def look(self, marker: Marker, archives: str | None, answering: tuple[str, ...] = ()) -> Facts:
        """The facts. Raises Retryable when systemd, or the disk, does not answer."""
        active, enabled = await self._unit()
        with _disk():
            return Facts(
                marker=marker,
                etcd=self.place(reference.path("wal")).is_dir(),
                have={path: one for path in KEPT_FILES if (one := self._mark(path))},
                trees=frozenset(tree for tree in TREES if self.place(tree).exists()),
                active=active,
                enabled=enabled,
                answering=answering,
                images=dict(self._images(archives)) if archives else {},
            )

    async def run(self, program: Literal["k3s", "systemctl", "killall"], words: Iterable[str], seconds: float) -> str:
        """Runs a program to its end; what it printed. Raises Rejected when it is not there, Retryable when it fails
        or takes longer than `seconds`: then it and what it started is killed."""
        return await self._run(self._programs[program], words, seconds)

    async def run_at(self, path: str, words: Iterable[str], seconds: float) -> str | None:
        """The same for the program at a path; None when there is no file."""
        place = self.place(path)
        return await self._run(str(place), words, seconds) if place.is_file() else None

    async def _run(self, path: str, words: Iterable[str], seconds: float) -> str:
        line = " ".join((path, *words))
        # Into a file: what a program leaves running may hold a pipe for ever.
        with tempfile.TemporaryFile() as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    path,
                    *words,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise Rejected(f"cannot be run: {error.strerror}; the image must have it", file=path) from None
            try:
                await asyncio.wait_for(process.wait(), seconds)
            except TimeoutError:
                raise Retryable(f"{line}: took longer than {seconds:g} s") from None
            finally:
                await _end(process)
            output.seek(max(0, output.seek(0, os.SEEK_END) - _MAX_OUTPUT))
            text = output.read().decode(errors="replace")
        if process.returncode:
            last = scrub_text(text.strip().rpartition("\n")[2])[-_MAX_SAID:]
            raise Retryable(f"{line}: exit {process.returncode}: {last}")
        return text

    def read(self, path: str) -> bytes | None:
        """A file's content; None when it is not there. Raises Retryable."""
        with _disk():
            try:
                return self.place(path).read_bytes()
            except FileNotFoundError:
                return None

    def write(self, file: File) -> None:
        """Replaces a file; on return it survives a power cut. Raises Retryable; the old one then stands."""
        target = self.place(file.path)
        with _disk():
            _make(target.parent)
            write_durably(target, file.content, file.mode)

    def remove(self, path: str) -> None:
        """Removes a file durably. Raises Retryable."""
        target = self.place(path)
        with _disk():
            if os.path.lexists(target):
                target.unlink()
                sync_directory(target.parent)

    def make_directory(self, path: str) -> None:
        """Makes a directory, 0700 where it is new. Raises Retryable."""
        with _disk():
            _make(self.place(path))

    def copy(self, source: str, target: str, mode: int) -> None:
        """Copies by rename. Raises Retryable."""
        place = self.place(target)
        new = place.with_name(f".{place.name}.new")
        with _disk():
            _make(place.parent)
            with self.place(source).open("rb") as origin, new.open("wb") as copied:
                shutil.copyfileobj(origin, copied, _CHUNK)
                copied.flush()
                os.fsync(copied.fileno())
            new.chmod(mode)
            new.replace(place)
            sync_directory(place.parent)

    def remove_tree(self, path: str) -> None:
        """Empties a path and removes it, unless it is a mount point. Raises Retryable when something is still mounted
        below it: that is never crossed."""
        target = self.place(path)
        with _disk():
            if not target.is_dir() or target.is_symlink():
                target.unlink(missing_ok=True)
                return
            mounted = sorted(point for point in _mount_points() if target.resolve() in point.parents)
            if mounted:
                raise Retryable(f"{path}: {mounted[0]} is still mounted below it")
            for child in target.iterdir():
                shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
            if not target.is_mount():
                target.rmdir()
                sync_directory(target.parent)

    async def _unit(self) -> tuple[bool, bool]:
        said = await self.run("systemctl", ("show", "--property=ActiveState,UnitFileState", UNIT), 10.0)
        values = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        return values.get("ActiveState") in _ACTIVE, values.get("UnitFileState") == "enabled"

    def _mark(self, path: str) -> str:
        place = self.place(path)
        try:
            return mark(place.read_bytes(), place.stat().st_mode & 0o777)
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def _images(self, archives: str) -> Iterator[tuple[str, bool]]:
        folder = self.place(archives)
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            if file.name.endswith(ARCHIVES) and file.is_file():
                there = self.place(reference.path("images")) / file.name
                yield f"{archives}/{file.name}", there.is_file() and there.stat().st_size == file.stat().st_size


def _make(folder: Path) -> None:
    """Makes a directory and its parents, each durable in its parent."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_directory(folder.parent)


def _mount_points() -> Iterator[Path]:
    """Every mount point, bind mounts too (proc(5), mountinfo)."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        yield Path(line.split()[4].encode().decode("unicode_escape"))


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _KILL_SECONDS)


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Retryable(f"{error.filename}: {error.strerror}") from None


Place = Callable[[str], Path]
"""Host.place."""
