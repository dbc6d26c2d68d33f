"""A restaurant's LAN for hosts: a network namespace of its own with a bridge, held by a program that sleeps.

Nothing in it reaches this machine's network, or any other. Needs root.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.site_in_a_box.process import Program

NETWORK = "10.77.0"
BRIDGE = "br0"


class Lan:
    """Hosts' addresses are 10.77.0.11 and up; the bridge is 10.77.0.1."""

    def __init__(self, folder: Path) -> None:
        self.holder = Program("lan", ["unshare", "--net", "sleep", "infinity"], log=folder / "lan.log")

    def up(self) -> None:
        """Makes the namespace and its bridge."""
        self.holder.start()
        self.holder.wait_ready(self._separate, seconds=10, what="in a network of its own")
        for command in (
            f"ip link add {BRIDGE} type bridge",
            f"ip address add {NETWORK}.1/24 dev {BRIDGE}",
            f"ip link set {BRIDGE} up",
            "ip link set lo up",
        ):
            self.run(*command.split())

    def plug(self, tap: str) -> None:
        """A socket for a machine in an emulator, which opens it by that name; the same one when it is there already."""
        if tap not in self.run("ip", "-brief", "link"):
            self.run(*f"ip tuntap add {tap} mode tap".split())
            self.run(*f"ip link set {tap} master {BRIDGE} up".split())

    def _separate(self) -> bool:
        return Path(f"/proc/{self.holder.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()

    @property
    def enter(self) -> list[str]:
        """The command that runs another one in there."""
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "--"]

    def run(self, *command: str) -> str:
        """Runs a command in there; its output."""
        return subprocess.run([*self.enter, *command], check=True, timeout=30, capture_output=True, text=True).stdout

    def down(self) -> None:
        """Ends it; the kernel takes the namespace and its links with the last process in it."""
        self.holder.stop()


def address(number: int) -> str:
    """Of the host with that number, from 1."""
    return f"{NETWORK}.{10 + number}"
