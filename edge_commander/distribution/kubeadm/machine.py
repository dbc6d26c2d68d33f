"""This node's programs and files, for the steps. Runs programs as root, writes below /etc, /var and /run.

A program's output is never logged: kubeadm prints tokens. What an error quotes of it is scrubbed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from agents.core.errors import Retryable
from agents.io.state import sync_directory, write_durably
from edge_commander.distribution import children

MAX_OUTPUT = 4 * 1024 * 1024
TAIL = 1500
END_SECONDS = 30
_SECRET = re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b|-----BEGIN[^-]*-----.*?-----END[^-]*-----|\b[0-9a-f]{64}\b", re.S)


def scrubbed(text: str) -> str:
    """The end of an output, without bootstrap tokens, keys and certificates, and long hexadecimal secrets."""
    return _SECRET.sub("(hidden)", text).strip()[-TAIL:]


class Machine:
    """Files and programs of this node."""

    async def run(self, program: str, *arguments: str, seconds: float, failing_is_an_answer: bool = False) -> str:
        """Runs a program with a bare environment, in a process group of its own, which is killed when time is up. It
        does not outlive us: after a crash the next try must be alone.

        Raises Retryable when it fails, cannot be started or takes too long; returns its stdout (with stderr where
        failing is an answer).
        """
        name = Path(program).name
        process = await _started(program, *arguments)
        try:
            out, err = await asyncio.wait_for(process.communicate(), seconds)
        except TimeoutError:
            raise Retryable(f"{name} took longer than {seconds:.0f} s") from None
        finally:
            await children.ended(process)
        text = out[-MAX_OUTPUT:].decode(errors="replace")
        errors = err[-MAX_OUTPUT:].decode(errors="replace")
        if failing_is_an_answer:
            return text + errors
        if process.returncode:
            said = scrubbed(errors) or scrubbed(text)
            raise Retryable(f"{name} {' '.join(arguments[:2])} failed with status {process.returncode}: {said}")
        return text

    @contextlib.asynccontextmanager
    async def running(self, program: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A program that runs meanwhile; then it is asked to end. Raises Retryable when it does not end well."""
        process = await _started(program, *arguments)
        reading = asyncio.create_task(process.communicate())
        try:
            yield process
            process.terminate()
            _, err = await asyncio.wait_for(asyncio.shield(reading), END_SECONDS)
        except TimeoutError:
            raise Retryable(f"{program} does not end") from None
        except ProcessLookupError:
            _, err = await reading
        finally:
            await children.ended(process)
            with contextlib.suppress(asyncio.CancelledError):
                await reading
        if process.returncode not in (0, -signal.SIGTERM):
            raise Retryable(
                f"{program} ended with status {process.returncode}: {scrubbed(err.decode(errors='replace'))}"
            )

    async def end(self, names: Sequence[str], seconds: float) -> None:
        """Asks all processes of these names to end, and kills what has not after `seconds`. Raises Retryable where one
        stays."""
        for kind in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + seconds
            for pid in self.processes(names):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, kind)
            while left := self.processes(names):
                if time.monotonic() > deadline:
                    break
                await asyncio.sleep(0.2)
            else:
                return
        raise Retryable(f"processes do not end: {', '.join(map(str, left))}")

    def processes(self, names: Sequence[str]) -> list[int]:
        """Ids of those that run, of any user and in any container. The kernel keeps 15 characters of a name."""
        wanted, found = {name[:15] for name in names}, []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                name, state = (place / "stat").read_text().partition("(")[2].rpartition(")")[::2]
            except OSError:
                continue
            if name in wanted and state.split()[0] != "Z":
                found.append(int(place.name))
        return found

    async def write(self, path: str, data: bytes, mode: int) -> None:
        """Replaces a file durably, and makes its folder (0755; 0700 where the file is private)."""
        await asyncio.to_thread(_write, Path(path), data, mode)

    async def remove(self, path: str) -> None:
        """Removes a file or a tree."""
        await asyncio.to_thread(_remove, Path(path))

    async def rename(self, path: str, target: str) -> None:
        """Gives a file another name in its folder, durably; nothing when it is not there."""
        await asyncio.to_thread(_rename, Path(path), Path(target))

    async def listens(self, port: int) -> bool:
        """Whether something takes connections on 127.0.0.1."""
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 2)
        except (OSError, TimeoutError):
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def link(self, path: str, target: str) -> None:
        """Points a symbolic link at `target`, by rename; nothing when it does already."""
        await asyncio.to_thread(_link, Path(path), target)

    async def read(self, path: str) -> str | None:
        """A file's text; None where there is none."""
        return await asyncio.to_thread(_read, Path(path))

    async def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return await asyncio.to_thread(Path(path).exists)

    async def versions(self, programs: str) -> tuple[str, list[str]]:
        """What `current` points to (empty: nothing), and the versions that are there."""
        return await asyncio.to_thread(_versions, Path(programs))


async def _started(program: str, *arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    try:
        return await children.start([program, *arguments], stdout=pipe, stderr=pipe)
    except OSError as error:
        raise Retryable(f"setpriv (for {program}): cannot be started: {error.strerror}") from None


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_durably(path, data, mode)
    except OSError as error:
        raise Retryable(f"{path}: cannot be written: {error.strerror}") from None


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            for entry in path.iterdir() if path.is_mount() else ():
                _remove(entry)
            if not path.is_mount():
                shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_directory(path.parent)
    except OSError as error:
        raise Retryable(f"{path}: cannot be removed: {error.strerror}") from None


def _rename(path: Path, target: Path) -> None:
    try:
        path.replace(target)
        sync_directory(target.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Retryable(f"{path}: cannot be renamed: {error.strerror}") from None


def _link(path: Path, target: str) -> None:
    try:
        if path.is_symlink() and str(path.readlink()) == target:
            return
        temporary = path.with_name(f".{path.name}.new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise Retryable(f"{path}: cannot be linked to {target}: {error.strerror}") from None


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Retryable(f"{path}: cannot be read: {error.strerror}") from None


def _versions(programs: Path) -> tuple[str, list[str]]:
    current = programs / "current"
    found = sorted(one.parent.name for one in programs.glob("*/kubeadm") if not one.parent.is_symlink())
    return (str(current.readlink()) if current.is_symlink() else ""), found
