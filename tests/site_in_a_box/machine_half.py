"""The machine's root half as systemd serves it: a process for each connection to `machine.sock`, in a test's folder.

What systemd hands over is the connection itself; here a pair of sockets stands between, so that a test may look at an
answer, and hold it back, before the asker has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import Self


class MachineHalf:
    """Serves `<run_dir>/machine.sock`. `asked`: set with each request; `answers`: held back while it is clear;
    `made`: answers that root gave, as they were."""

    def __init__(self, run_dir: Path, config: Path) -> None:
        self.socket, self.config = run_dir / "machine.sock", config
        self.asked, self.answers = asyncio.Event(), asyncio.Event()
        self.answers.set()
        self.made: list[bytes] = []
        self._tasks: set[object] = set()  # a task whose asker was killed is held by nobody else
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self.socket))
        return self

    async def __aexit__(self, *why: object) -> None:
        assert self._server is not None
        self.answers.set()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        asked = await reader.read()
        self.asked.set()
        ours, theirs = socket.socketpair()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GALLEY_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edge_commander.machine.runner", "--config", str(self.config),
            stdin=theirs.fileno(), env=environment,
        )  # fmt: skip
        theirs.close()
        from_root, to_root = await asyncio.open_connection(sock=ours)
        to_root.write(asked)
        to_root.write_eof()
        said = await from_root.read()
        await process.wait()
        to_root.close()
        self.made.append(said)
        await self.answers.wait()
        with contextlib.suppress(OSError):  # the asker was killed
            writer.write(said)
            await writer.drain()
        writer.close()
