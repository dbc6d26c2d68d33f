"""Programs that the root half starts: a known environment, a session of their own, and gone with their parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
PIECE = 64 * 1024
PLACE = "/run"
"""Where they run. etcd, told to end, removes its socket by a name in the folder it runs in, and hangs where that is
read-only, as / is on a NUC."""


async def start(
    command: Sequence[str], *, stdout: int, stderr: int, more: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Starts it with `more` in its environment; killed with this process. Raises OSError."""
    return await asyncio.create_subprocess_exec(
        "setpriv", "--pdeathsig", "KILL", *command, env={**ENVIRONMENT, **(more or {})}, start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=PLACE,
    )  # fmt: skip


async def ended(process: asyncio.subprocess.Process) -> None:
    """Kills it with its children where it still runs; gone when this returns."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # asyncio says that it has ended when its pipes have, and does not look at one that is full.
        for stream in filter(None, (process.stdout, process.stderr)):
            with contextlib.suppress(RuntimeError):  # somebody reads it already
                while await stream.read(PIECE):
                    pass
        await process.wait()
