"""One box from outside: its disk, its power, its cable, and programs run in there. Needs root."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import yaml

from agents.contracts.ids import node_id
from tests.site_in_a_box.etcd_site.disk import cluster_ids, marked_cluster
from tests.site_in_a_box.kube_build import EVERYTHING, ensure
from tests.site_in_a_box.lan import BRIDGE, Lan, address
from tests.site_in_a_box.process import Program

ROOT = Path(__file__).parents[3]
PKI = "/etc/kubernetes/pki"
NOWHERE = "02:00:00:00:00:00"
KUBEADM = """#!/bin/sh
exec {python} {file} "$@"
"""


class Box:
    """`power_on`, `cut_power`; what it has on its disk outlives both. `number`, from 1, gives name and address."""

    def __init__(self, folder: Path, lan: Lan, number: int, site: str, galley: dict[str, Any], version: str) -> None:
        self.folder, self.lan, self.number = folder, lan, number
        self.name, self.address = f"{site}-{number}", address(number)
        self.serial = f"GALLEY-ETCD-{site}-{number}"
        self.boots = 0
        for part in ("etc/galley", "lib", "programs"):
            (folder / part).mkdir(parents=True)
        self._lay_programs(version)
        own = {**galley["edge_commander"], "distribution": self._distribution(version)}
        config = {**galley, "v": 1, "edge_commander": own}
        (folder / "etc/galley/galley.yaml").write_text(yaml.safe_dump(config))
        guest = [sys.executable, "-m", "tests.site_in_a_box.etcd_site.guest", str(folder), self.address]
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("GALLEY_", "NOTIFY_"))}
        separate = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--net"]
        self.program = Program(
            f"box {self.name}", [*separate, *guest], log=folder / "box.log", cwd=ROOT,
            env={**environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self.pid1 = 0

    def _lay_programs(self, version: str) -> None:
        place = self.folder / "programs" / version
        place.mkdir()
        for name in ("etcd", "etcdctl", "etcdutl"):
            (place / name).symlink_to(ensure(EVERYTHING) / name)
        kubeadm = place / "kubeadm"
        kubeadm.write_text(KUBEADM.format(python=sys.executable, file=Path(__file__).with_name("kubeadm.py")))
        kubeadm.chmod(0o755)

    def _distribution(self, version: str) -> dict[str, Any]:
        own = {"version": version, "programs": str(self.folder / "programs"), "api_seconds": 45}
        return {"kind": "kubeadm", "kubeadm": own}

    @property
    def node(self) -> str:
        """The node's id."""
        return node_id(self.serial)

    @property
    def on(self) -> bool:
        """Whether it has power."""
        return self.program.running

    def power_on(self) -> None:
        """A boot: a new boot id, and a cable to the LAN."""
        self.boots += 1
        facts = {"hardware_id": self.serial, "serial": self.serial, "boot_id": str(uuid.uuid4()),
                 "hostname": self.name, "hardware": "NUC (played)"}  # fmt: skip
        (self.folder / "etc/galley/machine.json").write_text(json.dumps(facts))
        self.program.start()
        self.program.wait_ready(self._separate, seconds=30, what="in namespaces of its own")
        link = f"v{self.number}-{self.boots}"
        self.lan.run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(self.pid1))
        self.lan.run("ip", "link", "set", link, "master", BRIDGE, "up")
        self._net("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self._net("ip", "link", "set", "eth0", "up")

    def _separate(self) -> bool:
        with contextlib.suppress(OSError, IndexError, ValueError):
            pid = self.program.pid
            child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
            if Path(f"/proc/{child}/ns/net").readlink() != Path("/proc/self/ns/net").readlink():
                self.pid1 = child
                return True
        return False

    def cut_power(self) -> None:
        """SIGKILL to its first process: the kernel ends all others with it. Returns once they are gone. What was
        written stays, fsynced or not, unlike in a real power cut."""
        if self.on:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid1, signal.SIGKILL)
        self.program.stop(grace=20)

    def kill_commander(self) -> None:
        """SIGKILL to the commander alone; what it asked of the root half goes on."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            self.run("/bin/sh", "-c", "kill -9 $(cat /run/commander.pid)", seconds=10)

    def plug(self, *, up: bool) -> None:
        """Pulls its cable, or puts it in."""
        if self.on:
            self._net("ip", "link", "set", "eth0", "up" if up else "down")

    def deafen(self, other: Box, *, deaf: bool) -> None:
        """Sends what is for the other to a card that nobody has, so that it is lost without a word; or no longer."""
        if self.on and deaf:
            self._net("ip", "neigh", "replace", other.address, "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent")
        elif self.on:
            self._net("ip", "neigh", "del", other.address, "dev", "eth0", check=False)

    def _net(self, *command: str, check: bool = True) -> None:
        enter = ["nsenter", f"--net=/proc/{self.pid1}/ns/net", "--"]
        subprocess.run([*enter, *command], check=check, timeout=30, capture_output=True)

    def run(self, *command: str, seconds: float = 20) -> str:
        """A command in the box; its output. Raises subprocess.SubprocessError."""
        enter = ["nsenter", "-t", str(self.pid1), "-p", "-m", "-n", "--"]
        return subprocess.run(
            [*enter, *command],
            check=True,
            timeout=seconds,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=self.program.env,
        ).stdout

    def etcdctl(self, *arguments: str) -> str:
        """etcdctl against this box's own etcd; raises subprocess.SubprocessError."""
        access = (f"--endpoints=https://{self.address}:2379", f"--cacert={PKI}/etcd/ca.crt",
                  f"--cert={PKI}/apiserver-etcd-client.crt", f"--key={PKI}/apiserver-etcd-client.key")  # fmt: skip
        return self.run(f"{self.folder}/programs/current/etcdctl", *access, "--command-timeout=5s", *arguments)

    def operate(self, *arguments: str) -> str:
        """An operation of the distribution by hand, as root in the box; raises subprocess.SubprocessError."""
        return self.run(
            sys.executable, "-m", "tests.site_in_a_box.etcd_site.operate", *arguments,
            "--config", "/etc/galley/galley.yaml", seconds=120,
        )  # fmt: skip

    # What its disk says.

    def ids(self) -> set[str]:
        """Of every etcd cluster whose data lie there now."""
        return cluster_ids(self.folder / "lib/etcd")

    def uid(self) -> str:
        """Of the cluster that it became a member of; empty: of none yet."""
        return marked_cluster(self.folder / "lib/galley-kubernetes/cluster.json")

    def record(self) -> dict[str, Any]:
        """Its part in the cluster, from ident."""
        try:
            found = json.loads((self.folder / "lib/galley-ident/formation.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return dict(found["value"])

    def tail(self) -> str:
        """What to read when it went wrong."""
        logs = [self.folder / name for name in ("box.log", "commander.log", "etcd.log")]
        texts = [f"-- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-30:])
                 for log in logs if log.exists()]  # fmt: skip
        return f"== {self.name}, {'on' if self.on else 'off'}, {self.record()}\n" + "\n".join(texts)
