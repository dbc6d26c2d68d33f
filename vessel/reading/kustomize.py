"""`kubectl kustomize` in a bounded child: time, memory, output, environment, and no network.

`Kustomizer` is the port; KubectlKustomizer runs the real program. The child gets an empty HOME, no kubeconfig, a
PATH with nothing in it (so no git, no plugins) and proxies that lead nowhere. Exec plugins and Helm are off by
kustomize's own defaults; remote references were refused before (kustomization.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agents.core.errors import Rejected, Retryable

_NOWHERE = "http://127.0.0.1:9"
_STDERR_BYTES = 64 * 1024


class Kustomizer(Protocol):
    """Builds a kustomization."""

    async def build(self, directory: Path, home: Path) -> bytes:
        """The rendered YAML. `home`: an empty directory for the child.

        Raises Rejected with kustomize's words when the kustomization is wrong, Retryable when it could not run.
        """


@dataclass(frozen=True)
class KubectlKustomizer:
    """`kubectl kustomize`. `seconds`: wall and CPU time; `memory_bytes`: heap (half of it) and address space."""

    kubectl: str = "kubectl"
    seconds: float = 60.0
    memory_bytes: int = 1024 * 1024 * 1024
    output_bytes: int = 32 * 1024 * 1024

    async def build(self, directory: Path, home: Path) -> bytes:
        """See Kustomizer."""
        program = shutil.which(self.kubectl)
        if program is None:
            raise Retryable(f"kubectl was not found ({self.kubectl}): it is needed to render kustomizations")
        try:
            child = await asyncio.create_subprocess_exec(
                str(Path(program).absolute()),  # not resolved: k3s is a kubectl by the name of a link
                "kustomize",
                str(directory),
                cwd=home,
                env=self._environment(home),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise Retryable(f"kubectl could not be started ({program}): {error.strerror}") from error
        try:
            self._limit(child.pid)
            async with asyncio.timeout(self.seconds):
                output, said = await asyncio.gather(
                    self._read(child.stdout, self.output_bytes), _read_said(child.stderr)
                )
                status = await child.wait()
        except TimeoutError:
            raise Retryable(f"kustomize did not end within {self.seconds:.0f} s") from None
        finally:
            await _end(child)
        if status == 0:
            return output
        if status < 0 or b"out of memory" in said or b"cannot allocate memory" in said:
            raise Rejected("kustomize was stopped: it needs more memory or time than it may have")
        raise Rejected(said.decode(errors="replace"))

    def _environment(self, home: Path) -> dict[str, str]:
        return {
            "HOME": str(home),
            "PATH": str(home),
            "TMPDIR": str(home),
            "KUBECONFIG": os.devnull,
            "HTTP_PROXY": _NOWHERE,
            "HTTPS_PROXY": _NOWHERE,
            "GOMEMLIMIT": str(self.memory_bytes // 2),
            "GOMAXPROCS": "2",
            "LANG": "C.UTF-8",
        }

    def _limit(self, pid: int) -> None:
        # Set from here right after the start: code between fork and exec is not safe in a process with threads.
        # A Go program reserves far more address space than it uses, hence the allowance.
        space = self.memory_bytes + 3 * 1024**3
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_AS, (space, space))
            resource.prlimit(pid, resource.RLIMIT_CPU, (int(self.seconds), int(self.seconds)))
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (self.output_bytes, self.output_bytes))
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))

    async def _read(self, stream: asyncio.StreamReader | None, limit: int) -> bytes:
        data = await _read_some(stream, limit + 1)
        if len(data) > limit:
            raise Rejected(f"kustomize wrote more than {limit} bytes")
        return data


async def _read_some(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    """Reads until `limit` bytes are there, or the end; what comes after is left unread."""
    assert stream is not None
    data = bytearray()
    while len(data) < limit and (part := await stream.read(min(65536, limit - len(data)))):
        data += part
    return bytes(data)


async def _read_said(stream: asyncio.StreamReader | None) -> bytes:
    """Reads to the end and keeps the beginning."""
    data = await _read_some(stream, _STDERR_BYTES)
    while await _read_some(stream, _STDERR_BYTES):
        pass
    return data


async def _end(child: asyncio.subprocess.Process) -> None:
    """Leaves no process behind, whatever happened."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    transport = getattr(child, "_transport", None)
    if transport is not None:
        # asyncio's wait() also waits for the pipes' ends, which a reader that stopped early never sees.
        transport.close()
    await child.wait()
