"""One command of tpm2-tools at a time, bounded in time; touches the TPM by their processes.

What goes in and comes out lies in memory files (memfd_create(2)) that the child inherits: nothing of it is on a disk
or on a command line. Every call blocks: run it in a thread.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from agents.core.errors import Rejected
from edge_commander.keys import KeysUnavailable
from edge_commander.tpm.codes import Said, read_failure

MAX_OUTPUT = 64 * 1024
SECONDS, LONG_SECONDS = 15.0, 60.0
"""For one command; LONG for those that make a primary key: of RSA that takes a slow TPM half a minute."""
_LONG = frozenset({"tpm2_createprimary", "tpm2_createek", "tpm2_create"})
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class TpmRefused(Rejected):
    """The TPM answered with an error that will not pass by itself. `said`: which."""

    def __init__(self, tool: str, said: Said) -> None:
        super().__init__(f"{tool}: {said.text}")
        self.said = said


class Tpm:
    """A TPM by its TCTI (`device:/dev/tpmrm0`, `swtpm:path=...`), as tcti(7) has it. For any number of threads: one
    works at a time.

    Behind a resource manager (the kernel's, or tpm2-abrmd) what a command loads is gone when it ends; without one it
    is flushed here, so that nobody else's loaded objects and sessions survive either.
    """

    def __init__(self, tcti: str, *, seconds: float = SECONDS) -> None:
        self.tcti = tcti
        self._seconds = seconds
        self._lock = threading.RLock()
        self._managed = tcti.startswith(("device:/dev/tpmrm", "tabrmd"))
        self._environment = {
            "PATH": os.environ.get("PATH", _PATH),
            "TPM2TOOLS_TCTI": tcti,
            "TSS2_LOG": "all+NONE",
            "LC_ALL": "C",
        }

    def __repr__(self) -> str:
        return f"Tpm({self.tcti!r})"

    @property
    def device(self) -> Path | None:
        """The device that must be there; None where it is reached otherwise."""
        kind, _, path = self.tcti.partition(":")
        return Path(path) if kind == "device" and path else None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Several commands, nobody else's of this process between them."""
        with self._lock:
            yield

    def run(
        self,
        tool: str,
        *arguments: str,
        given: Mapping[str, bytes] | None = None,
        wanted: Sequence[str] = (),
        shared: Mapping[str, int] | None = None,
    ) -> dict[str, bytes]:
        """Runs `tool`; returns the content of the files in `wanted`.

        `{name}` in an argument is the path of the file of that name, which holds `given[name]` at first. `shared`:
        files that live longer than one command, see `memory_file`. Raises TpmRefused, KeysUnavailable.
        """
        files: dict[str, int] = {}
        with self._lock, ExitStack() as stack:
            if not self._managed:
                self._flush()
            for name in {*(given or {}), *wanted}:
                files[name] = stack.enter_context(memory_file(name, (given or {}).get(name, b"")))
            files |= shared or {}
            paths = {name: f"/proc/self/fd/{file}" for name, file in files.items()}
            self._execute([tool, *(one.format_map(paths) for one in arguments)], tuple(files.values()))
            return {name: os.pread(files[name], MAX_OUTPUT, 0) for name in wanted}

    def _flush(self) -> None:
        for kind in ("--transient-object", "--loaded-session"):
            self._execute(["tpm2_flushcontext", kind], ())

    def _execute(self, command: list[str], files: tuple[int, ...]) -> None:
        limit = max(self._seconds, LONG_SECONDS) if command[0] in _LONG else self._seconds
        try:
            done = subprocess.run(
                command,
                env=self._environment,
                pass_fds=files,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # some tools print what they found: a secret
                stderr=subprocess.PIPE,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise KeysUnavailable(f"the TPM did not answer {command[0]} within {limit:.0f} s") from None
        except OSError as error:
            raise KeysUnavailable(f"{command[0]} cannot be run: {error.strerror} (package tpm2-tools)") from None
        if done.returncode == 0:
            return
        said = read_failure(done.returncode, done.stderr[:4096].decode(errors="replace"))
        if said.passing or done.returncode < 0:
            raise KeysUnavailable(f"the TPM is not available: {command[0]}: {said.text}")
        raise TpmRefused(command[0], said)


@contextmanager
def memory_file(name: str, content: bytes = b"") -> Iterator[int]:
    """An open memory file with this content. Closed in children that are not given it."""
    file = os.memfd_create(name)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(file, view) :]
        yield file
    finally:
        os.close(file)
