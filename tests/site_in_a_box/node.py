"""One NUC of a site, played by processes on this machine: its files, its daemons, its line to the cloud.

Every daemon is a process of its own, as on a NUC; the node's hardware comes from a file, its listeners bind to
an address of its own, 127.77.SITE.NODE.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from agents.contracts.ids import node_id
from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.process import Program, stop_all
from tests.site_in_a_box.uplink_proxy import UplinkProxy

BIN = Path(sys.executable).parent
DAEMONS = ("edge-commander", "heartbeat", "vessel", "synthetic-client")


@dataclass(frozen=True)
class Cloud:
    """Where the endpoint is, as a node needs to know it."""

    host: str
    port: int
    issuer: str
    ca_file: Path


@dataclass(frozen=True)
class NodePlan:
    """What distinguishes one node from another. `site_number`, `number`: 1 to 254."""

    site: str
    site_number: int
    number: int
    name: str
    kubeconfig: Path
    admin_kubeconfig: Path
    kubectl: Path
    interval: float
    scenario: Path | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """The loopback address that is this node's own."""
        return f"127.77.{self.site_number}.{self.number}"

    @property
    def hardware_id(self) -> str:
        """What the shipping list knows it by."""
        return f"NUC-{self.site}-{self.number:02d}"

    @property
    def node(self) -> str:
        """Its node id."""
        return node_id(self.hardware_id)


class Node:
    """A node's files below `folder`, and its programs."""

    def __init__(self, plan: NodePlan, folder: Path, cloud: Cloud, *, code: str = "") -> None:
        self.plan = plan
        self.code = code
        self.folder = folder
        self.cloud = cloud
        self.proxy = UplinkProxy(plan.address, free_port(plan.address), (cloud.host, cloud.port))
        self.config = folder / "galley.yaml"
        daemons = DAEMONS if plan.scenario else DAEMONS[:-1]
        self.daemons = {name: self._program(name) for name in daemons}

    @property
    def name(self) -> str:
        """The node's name."""
        return self.plan.name

    def _program(self, name: str) -> Program:
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
        environment["MALLOC_ARENA_MAX"] = "1"  # as the units have it
        command: list[str | Path] = [BIN / name, "--config", self.config]
        return Program(f"{self.plan.name}/{name}", command, log=self.folder / "log" / f"{name}.log", env=environment)

    def lay_out(self) -> None:
        """Writes the node's files: its hardware, its configuration, its one-time code."""
        for part in ("state", "run", "ident", "log"):
            (self.folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.boot()
        if self.code:
            code = self.folder / "enrol-code"
            code.touch(mode=0o600)
            code.write_text(self.code)
        self.config.write_text(yaml.safe_dump(self.settings(), sort_keys=False))

    def boot(self) -> None:
        """Gives the node a new boot id, as a power cycle does."""
        facts = {
            "hardware_id": self.plan.hardware_id,
            "serial": self.plan.hardware_id,
            "boot_id": str(uuid.uuid4()),
            "hostname": self.plan.name,
            "hardware": "Intel NUC (played by processes on one machine)",
        }
        path = self.folder / "machine.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(facts))
        new.replace(path)

    def settings(self) -> dict[str, Any]:
        """The node's galley.yaml."""
        plan = self.plan

        def socket(role: str) -> str:
            return str(self.folder / "run" / f"identity-{role}.sock")

        def health(port: int) -> dict[str, Any]:
            return {"bind": plan.address, "port": port}

        settings: dict[str, Any] = {
            "v": 1,
            "node": {
                "machine": f"file:{self.folder / 'machine.json'}",
                "state_dir": str(self.folder / "state"),
                "run_dir": str(self.folder / "run"),
            },
            "endpoint": {
                "urls": [f"https://{plan.address}:{self.proxy.port}"],
                "issuer": self.cloud.issuer,
                "ca_file": str(self.cloud.ca_file),
            },
            "edge_commander": {
                "health": health(9404),
                "keys_dir": str(self.folder / "ident"),
                "socket_roles": ["heartbeat", "vessel", "synthetic"],
                "distribution": {"kind": "existing", "kubeconfig": str(plan.admin_kubeconfig)},
                "enrol_seconds": plan.interval,
                "observe_seconds": plan.interval * 2,
                "command_seconds": plan.interval * 5,
                "site_seconds": 30.0,
            },
            "heartbeat": {
                "health": health(9402),
                "interval_seconds": plan.interval,
                "identity_socket": socket("heartbeat"),
            },
            "vessel": {
                "health": health(9401),
                "identity_socket": socket("vessel"),
                "kubeconfig": str(plan.kubeconfig),
                "kubectl": str(plan.kubectl),
                "poll_seconds": plan.interval,
            },
        }
        if self.code:
            settings["edge_commander"]["enrol_code_file"] = str(self.folder / "enrol-code")
        if plan.scenario:
            settings["synthetic_client"] = {
                "health": health(9403),
                "identity_socket": socket("synthetic"),
                "scenario": str(plan.scenario),
            }
        for section, more in plan.extra.items():
            settings[section] = {**settings.get(section, {}), **more}
        return settings

    def start(self, names: Iterable[str] | None = None) -> None:
        """Starts the daemons that do not run."""
        for name in names or self.daemons:
            if not self.daemons[name].running:
                self.daemons[name].start()

    def kill(self, names: Sequence[str] | None = None) -> None:
        """SIGKILL to the node's daemons, all at once as a power cut does."""
        chosen = [self.daemons[name] for name in names or self.daemons]
        for program in chosen:
            program.signal(signal.SIGKILL)
        for program in chosen:
            program.kill()

    def stop(self, *, grace: float = 12.0) -> None:
        """SIGTERM to all daemons, and waits."""
        stop_all(self.daemons.values(), grace=grace)

    def memory(self) -> dict[str, float]:
        """PSS of each running daemon in MB (10^6 bytes)."""
        return {name: program.pss_bytes() / 1e6 for name, program in self.daemons.items() if program.running}
