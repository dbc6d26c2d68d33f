"""Runs one git command through GitPython: bounded in time, output and file size, in an environment of its own.

GitPython's traps, and what is done here: importing it needs git (turned into a clear error); its children
inherit the whole environment (foreign GIT_* variables are taken out by env(1)); its Repo objects keep
`cat-file --batch` children alive (none is used); its `kill_after_timeout` bounds neither output nor
descendants surely (each command is a process group of its own here, killed as a whole).
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from agents.core.errors import Rejected, Retryable

if TYPE_CHECKING:
    from git.cmd import Git

_TICK = 0.2
_OLDEST = (2, 31)


@dataclass(frozen=True)
class Outcome:
    """What one command came to. `said` is stderr as text."""

    status: int
    output: bytes
    said: str


class Stopped(Exception):
    """The caller no longer wants the result; the command was killed."""


class GitRunner:
    """Runs git with `directory` as working directory and as HOME-less home of nothing."""

    def __init__(self, directory: Path) -> None:
        """Raises Rejected when there is no usable git."""
        self._directory = directory
        self.inherited: tuple[int, ...] = ()
        """Descriptors that the children get too."""
        try:
            from git.cmd import Git
        except ImportError as error:
            raise Rejected(f"git was not found on PATH: install git ({str(error).splitlines()[0]})") from None
        self._git: Git = Git(str(directory))
        said = self.run(["version"], seconds=10, configuration={}).output.decode(errors="replace")
        numbers = re.search(r"(\d+)\.(\d+)", said)
        if numbers is None or (int(numbers[1]), int(numbers[2])) < _OLDEST:
            raise Rejected(f"{said.strip()[:80] or 'git'} is too old: {'.'.join(map(str, _OLDEST))} or newer is needed")

    def run(
        self,
        arguments: Sequence[str],
        *,
        seconds: float,
        configuration: Mapping[str, str],
        output_bytes: int = 1024 * 1024,
        file_bytes: int | None = None,
        stdin: IO[bytes] | None = None,
        stop: threading.Event | None = None,
    ) -> Outcome:
        """Blocks until the command ends. Raises Retryable at a timeout, Rejected past a bound, Stopped on `stop`."""
        process: Any = self._git.execute(
            [*_without_foreign(), "git", "--no-pager", "--no-replace-objects", *arguments],
            istream=stdin,  # type: ignore[arg-type]
            as_process=True,
            env=self._environment(configuration),
            start_new_session=True,
            pass_fds=self.inherited,
        )
        child: subprocess.Popen[bytes] = process.proc
        deadline = time.monotonic() + seconds
        try:
            if file_bytes is not None:
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
            output, said = _collect(child, deadline, output_bytes, stop, arguments[0])
            status = child.wait(max(_TICK, deadline - time.monotonic()))
            return Outcome(status, output, said.decode(errors="replace"))
        except subprocess.TimeoutExpired:
            raise Retryable(f"git {arguments[0]} did not end in time") from None
        finally:
            _end(child)

    def _environment(self, configuration: Mapping[str, str]) -> dict[str, str]:
        nowhere = os.devnull
        environment = {
            "HOME": nowhere,
            "XDG_CONFIG_HOME": nowhere,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_SYSTEM": nowhere,
            "GIT_CONFIG_GLOBAL": nowhere,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "SSH_ASKPASS": "true",
            "GIT_ALLOW_PROTOCOL": "https:http:file",
            "GIT_CEILING_DIRECTORIES": str(self._directory.parent),
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_CONFIG_COUNT": str(len(configuration)),
        }
        for index, (key, value) in enumerate(configuration.items()):
            environment[f"GIT_CONFIG_KEY_{index}"] = key
            environment[f"GIT_CONFIG_VALUE_{index}"] = value
        return environment


def _without_foreign() -> list[str]:
    """A prefix that removes git's variables of whoever started this process, so that they steer nothing here."""
    foreign = sorted(name for name in os.environ if name.startswith("GIT_") and not name.startswith("GIT_PYTHON_"))
    ours = ("GIT_CONFIG_", "GIT_ATTR_NOSYSTEM", "GIT_TERMINAL_PROMPT", "GIT_ASKPASS", "GIT_ALLOW_PROTOCOL")
    taken = [name for name in foreign if not name.startswith(ours)]
    return ["env", *(part for name in taken for part in ("-u", name))] if taken else []


def _collect(
    child: subprocess.Popen[bytes], deadline: float, limit: int, stop: threading.Event | None, name: str
) -> tuple[bytes, bytes]:
    output, said = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, buffer in ((child.stdout, output), (child.stderr, said)):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, buffer)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise Retryable(f"git {name} did not end in time")
            if stop is not None and stop.is_set():
                raise Stopped
            for key, _ in selector.select(min(left, _TICK)):
                _take(selector, key, limit)
            if len(output) > limit:
                raise Rejected(f"git {name} answers with more than {limit} bytes")
    return bytes(output), bytes(said)


def _take(selector: selectors.BaseSelector, key: selectors.SelectorKey, limit: int) -> None:
    stream: Any = key.fileobj
    chunk = os.read(stream.fileno(), 65536)
    if not chunk:
        selector.unregister(stream)
        return
    key.data.extend(chunk[: max(0, limit + 1 - len(key.data))])


def _end(child: subprocess.Popen[bytes]) -> None:
    """Leaves neither process nor descriptor behind."""
    if child.returncode is None:  # not reaped, so the id is still its own
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
    child.wait()
