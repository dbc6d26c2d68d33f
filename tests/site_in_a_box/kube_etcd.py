"""One etcd on loopback for all sites of a run; each site keeps to a key prefix of its own."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.process import Program

READY_SECONDS = 60


class Etcd:
    """An etcd server below `folder`. A context manager; `url` is what API servers connect to.

    By default it does not fsync (`--unsafe-no-fsync`): what it stores survives a kill of any process,
    not a power cut, and a run throws it away anyway. `durable=True` makes it fsync as in production.
    """

    def __init__(self, binaries: Path, folder: Path, *, durable: bool = False) -> None:
        self._binary = binaries / "etcd"
        self.folder = folder
        self._durable = durable
        self.url = ""
        self.program: Program | None = None

    def start(self) -> None:
        """Starts it and waits until it serves. StartError with the log's tail when it does not."""
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        command = [
            self._binary,
            "--name=site-in-a-box",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=site-in-a-box={peer}",
            "--snapshot-count=5000",
            f"--quota-backend-bytes={2 * 1024**3}",
            "--log-level=warn",
        ]
        if not self._durable:
            command.append("--unsafe-no-fsync")
        self.url = client
        self.program = Program("etcd", [str(part) for part in command], log=self.folder / "etcd.log")
        self.program.start()
        try:
            self.program.wait_ready(self._healthy, seconds=READY_SECONDS)
        except BaseException:
            self.program.kill()
            raise

    def stop(self) -> None:
        """Stops it; its data stays in `folder`."""
        if self.program is not None:
            self.program.stop()

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(json.load(answer).get("health") == "true")
        except (OSError, urllib.error.URLError, ValueError):
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
