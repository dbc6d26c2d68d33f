"""A real endpoint process and a node's commander as a process of its own, on files below a test's folder."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from agents.contracts.ids import node_id
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.process import Program
from tests.site_in_a_box.swtpm import Swtpm

SITE = "store-01234"


class Commander:
    """One node's commander: its folder, configuration and process."""

    def __init__(self, folder: Path, endpoint: Endpoint | None, hardware_id: str = "NUC-0001", **own: Any) -> None:
        self.folder, self.hardware_id = folder, hardware_id
        self.node = node_id(hardware_id)
        self.ident, self.run_dir = folder / "ident", folder / "run"
        self.health_port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.machine(hardware_id)
        self.config = folder / "galley.yaml"
        self.own = {
            "health": {"bind": "127.0.0.1", "port": self.health_port},
            "keys_dir": str(self.ident),
            "enrol_code_file": str(folder / "code"),
            "socket_roles": ["heartbeat", "vessel", "synthetic"],
            "enrol_seconds": 0.3,
            "site_seconds": 0.5,
            "observe_seconds": 0.3,
            "command_seconds": 0.5,
            "distribution": {"kind": "existing", "kubeconfig": str(folder / "kubeconfig")},
            **own,
        }
        self.document: dict[str, Any] = {
            "v": 1,
            "node": {
                "machine": f"file:{folder / 'machine.json'}",
                "state_dir": str(folder / "state"),
                "run_dir": str(self.run_dir),
            },
            "edge_commander": self.own,
        }
        if endpoint is not None:
            self.document["endpoint"] = {
                "urls": [endpoint.url], "issuer": endpoint.issuer, "ca_file": str(endpoint.ca_file),
            }  # fmt: skip
        self.config.write_text(yaml.safe_dump(self.document))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GALLEY_") and k != "NOTIFY_SOCKET"}
        self.program = Program(
            f"commander-{hardware_id}",
            [sys.executable, "-m", "edge_commander", "--config", self.config],
            log=folder / "commander.log",
            env={**environment, "MALLOC_ARENA_MAX": "1"},
        )

    def machine(self, hardware_id: str) -> None:
        facts = {
            "hardware_id": hardware_id, "serial": hardware_id, "boot_id": str(uuid.uuid4()), "hostname": "kitchen",
            "hardware": "NUC",
        }  # fmt: skip
        (self.folder / "machine.json").write_text(json.dumps(facts))

    def socket(self, role: str = "") -> Path:
        return self.run_dir / (f"identity-{role}.sock" if role else "identity.sock")

    def start(self) -> None:
        self.program.start()
        self.program.wait_ready(self.serves, seconds=20, what="serving")

    def serves(self) -> bool:
        """Whether every socket takes connections (a stale file does not)."""
        for path in self.run_dir.glob("identity*.sock"):
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(path))
                except OSError:
                    return False
        return len(list(self.run_dir.glob("identity*.sock"))) == 1 + len(self.own["socket_roles"])

    def record(self) -> dict[str, Any]:
        """The durable state as it is on disk; empty before the first."""
        try:
            return dict(json.loads((self.ident / "state.json").read_text())["value"])
        except FileNotFoundError:
            return {}

    @property
    def state(self) -> str:
        return str(self.record().get("state", ""))

    @property
    def why(self) -> str:
        return str(self.record().get("reason", {}).get("why", ""))

    def wait(self, what: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"{self.record()}\n{self.program.log_tail()}"
            time.sleep(0.03)

    async def ask(self, path: str, role: str = "vessel", **more: Any) -> tuple[int, Any]:
        """One request at a socket: status and JSON."""
        connector = aiohttp.UnixConnector(path=str(self.socket(role)))
        timeout = aiohttp.ClientTimeout(total=15)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.get(f"http://identity{path}", **more) as answer,
        ):
            return answer.status, await answer.json(content_type=None)


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    endpoint = Endpoint(tmp_path_factory.mktemp("endpoint"))
    endpoint.start()
    yield endpoint
    endpoint.stop()


@pytest.fixture
async def operator(endpoint: Endpoint) -> AsyncIterator[EndpointClient]:
    async with endpoint.operator() as client:
        yield client


@pytest.fixture
def commanders() -> Iterator[Callable[..., Commander]]:
    made: list[Commander] = []

    def make(*args: Any, **more: Any) -> Commander:
        made.append(Commander(*args, **more))
        return made[-1]

    yield make
    for commander in made:
        commander.program.stop()


@pytest.fixture
def swtpm() -> Iterator[Swtpm]:
    """A new TPM 2.0."""
    with Swtpm() as tpm:
        yield tpm


@pytest.fixture
def other_swtpm() -> Iterator[Swtpm]:
    """Another machine's."""
    with Swtpm() as tpm:
        yield tpm
