"""A NUC with the suite's units on it: a booted host, its hardware's tables, its galley.yaml and enabled units."""

from __future__ import annotations

import json
import os
import random
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.site_in_a_box.host import Host

NODE_UNITS = ("edge-commander", "heartbeat", "vessel", "synthetic-client")
USERS = {"vessel": 770, "heartbeat": 771, "synthetic-client": 772, "edge-commander": 773, "endpoint": 774,
         "discovery": 775}  # fmt: skip
"""Unit to the fixed uid of its user."""
PORTS = {"vessel": 9401, "heartbeat": 9402, "synthetic-client": 9403, "edge-commander": 9404}
"""Unit to the health port that the docs name."""

IDENTITY = "/run/galley/identity.sock"
ASK = """
import http.client, json, socket, sys
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(sys.argv[1])
link = Unix("galley")
link.request("GET", sys.argv[2])
answer = link.getresponse()
print(json.dumps({"status": answer.status, "body": json.loads(answer.read())}))
"""


def own_address() -> str:
    """A loopback address for one host's listeners, so that two runs at once do not meet."""
    return f"127.79.{random.randrange(1, 255)}.{random.randrange(1, 255)}"


def free_name(stem: str) -> str:
    """A name for a host that no other run on this machine has."""
    return f"{stem}-{os.getpid()}-{random.randrange(1000)}"


class SuiteHost(Host):
    """A host whose DMI tables say `serial`; `units` are enabled. Its loopback address is `address`."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        serial: str,
        units: Sequence[str] = NODE_UNITS,
        address: str = "",
        options: Sequence[str] = (),
        enter: Sequence[str] = (),
    ) -> None:
        self.serial = serial
        self.units = tuple(units)
        self.address = address or own_address()
        tables = folder / "class"
        # nspawn forbids what the hardware allows everyone: asking for the clock's state.
        allowed = [f"--system-call-filter={call}" for call in ("adjtimex", "clock_adjtime")]
        super().__init__(name, folder, options=[f"--bind-ro={tables}:/sys/class", *allowed, *options], enter=enter)
        self._lay_tables(tables / "dmi" / "id")

    def _lay_tables(self, folder: Path) -> None:
        """As the kernel shows them: what identifies the machine is for root's eyes alone."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text, mode in (
            ("product_serial", self.serial, 0o400),
            ("product_uuid", "4c4c4544-0044-4810-8057-b4c04f4d3132", 0o400),
            ("board_serial", f"board of {self.serial}", 0o400),
            ("sys_vendor", "Intel(R) Client Systems", 0o444),
            ("product_name", "NUC12WSHi5", 0o444),
        ):
            (folder / name).write_text(text + "\n")
            (folder / name).chmod(mode)

    def settings(self) -> dict[str, Any]:
        """A node's galley.yaml without endpoint and Atlas."""
        sections: dict[str, dict[str, Any]] = {
            unit.replace("-", "_"): {"health": self.listener(unit)} for unit in NODE_UNITS
        }
        sections["synthetic_client"]["scenario"] = "/etc/galley/scenario.yaml"
        return {"v": 1, **sections}

    def listener(self, unit: str) -> dict[str, Any]:
        """The unit's health port, on this host's own address."""
        return {"bind": self.address, "port": PORTS[unit]}

    def lay_out(
        self, settings: Mapping[str, Any], scenario: Mapping[str, Any], secrets: Mapping[str, tuple[int, str]]
    ) -> None:
        """Before the first boot. `secrets`: path to (owner's uid, text), mode 0600."""
        self.prepare()
        self.path("/etc/galley/galley.yaml").write_text(yaml.safe_dump(dict(settings)))
        self.path("/etc/galley/scenario.yaml").write_text(yaml.safe_dump(dict(scenario)))
        for name, (uid, text) in secrets.items():
            file = self.path(name)
            file.touch(mode=0o600)
            file.write_text(text)
            os.chown(file, uid, uid)
        for unit in self.units:
            link = self.path(f"/etc/systemd/system/multi-user.target.wants/galley-{unit}.service")
            link.unlink(missing_ok=True)
            link.symlink_to(f"/etc/systemd/system/galley-{unit}.service")

    def put(self, inside: str, text: str, mode: int = 0o644) -> None:
        """Writes a file of the running guest."""
        file = Path(f"/proc/{self.pid1}/root") / inside.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def as_user(self, uid: int, *command: str, check: bool = True) -> str:
        """See below."""
        return as_user(self, uid, *command, check=check)

    def ask(self, uid: int, route: str, socket: str = IDENTITY) -> tuple[int, dict[str, Any]]:
        """See below."""
        return ask(self, uid, route, socket)

    def main_pid(self, unit: str) -> int:
        """The main process of a unit, as the guest numbers it; 0 when there is none."""
        return int(self.property(f"galley-{unit}.service", "MainPID"))

    def journal(self, unit: str, *more: str) -> str:
        """What a unit said in this boot, without prefixes."""
        return self.run("journalctl", "-b", "-u", f"galley-{unit}", "-o", "cat", "--no-pager", *more, check=False)

    def wait_active(self, *units: str, seconds: float = 60) -> None:
        """Waits until the units are READY."""
        for unit in units or self.units:
            self.wait_property(f"galley-{unit}.service", "ActiveState", "active", seconds=seconds)

    def shell(self, text: str, *arguments: object, check: bool = True) -> str:
        """A line of shell as root; `{}` are replaced by quoted arguments."""
        return self.run("bash", "-c", text.format(*(shlex.quote(str(one)) for one in arguments)), check=check)


def as_user(host: Host, uid: int, *command: str, check: bool = True) -> str:
    """Runs a command in there as a uid without further groups or privileges."""
    drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs", "--inh-caps=-all"]
    return host.run(*drop, *command, check=check)


def ask(host: Host, uid: int, route: str, socket: str = IDENTITY) -> tuple[int, dict[str, Any]]:
    """Asks the identity socket as a uid: HTTP status and the JSON body."""
    said = json.loads(as_user(host, uid, "/opt/galley/bin/python3", "-I", "-c", ASK, socket, route))
    return said["status"], said["body"]
