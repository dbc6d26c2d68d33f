"""A machine on a restaurant's LAN: a network namespace with one interface on the bridge, and the discovery process."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

from agents.contracts.ids import node_id
from edge_commander.discovery.hintfile import HintReader
from tests.site_in_a_box.lan import BRIDGE, Lan, address
from tests.site_in_a_box.process import Program

ROOT = Path(__file__).resolve().parents[2]


class Machine:
    """Number `number` on the LAN, from 1, with its address. `up` before `discovery.start()`; `down` ends both."""

    def __init__(self, lan: Lan, number: int, folder: Path) -> None:
        self.lan, self.number = lan, number
        self.name = f"nuc-{number}"
        self.node = node_id(f"SERIAL-{self.name}")
        self.folder = folder / self.name
        self.folder.mkdir()
        self.out = self.folder / "hints.json"
        self.holder = Program(self.name, ["unshare", "--net", "sleep", "infinity"], log=self.folder / "holder.log")
        facts = {"hardware_id": f"SERIAL-{self.name}", "serial": "", "boot_id": "b", "hostname": "h", "hardware": "NUC"}
        (self.folder / "machine.json").write_text(json.dumps(facts))
        self.discovery = Program(
            f"discovery of {self.name}",
            [*self.enter(), sys.executable, "-m", "edge_commander.discovery",
             "--machine", f"file:{self.folder / 'machine.json'}", "--out", str(self.out)],
            log=self.folder / "discovery.log", cwd=ROOT,
        )  # fmt: skip

    def enter(self) -> list[str]:
        """Enters the namespace by a path that is there once it is up."""
        return ["nsenter", f"--net={self.folder / 'net'}", "--"]

    def up(self) -> None:
        """Makes namespace and interface."""
        self.holder.start()
        namespace = Path(f"/proc/{self.holder.pid}/ns/net")
        self.holder.wait_ready(
            lambda: namespace.readlink() != Path("/proc/self/ns/net").readlink(), seconds=10, what="apart"
        )
        (self.folder / "net").symlink_to(namespace)
        link = f"veth{self.number}"
        self.lan.run(*f"ip link add h{self.number} type veth peer name {link} netns {self.holder.pid}".split())
        self.lan.run(*f"ip link set h{self.number} master {BRIDGE} up".split())
        self.run(*f"ip link set {link} name eth0".split())
        self.run(*f"ip address add {address(self.number)}/24 dev eth0".split())
        self.run(*["ip", "link", "set", "lo", "up"])
        self.run(*["ip", "link", "set", "eth0", "up"])

    def run(self, *command: str) -> None:
        """Runs a command on it, to its end."""
        subprocess.run([*self.enter(), *command], check=True, timeout=60, cwd=ROOT)

    def hears(self, node: str) -> tuple[str, ...]:
        """Where it takes that node to be, as its commander would."""
        return HintReader(self.out, time.monotonic)(node)

    def sent(self) -> int:
        """Packets that left it so far."""
        # sysfs shows the network of whoever mounted it.
        show = "mount -t sysfs sysfs /sys && cat /sys/class/net/eth0/statistics/tx_packets"
        command = [*self.enter(), "unshare", "--mount", "bash", "-c", show]
        text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
        return int(text)

    def down(self) -> None:
        """Ends it; the kernel takes the namespace."""
        for program in (self.discovery, self.holder):
            with contextlib.suppress(RuntimeError):
                program.stop()
