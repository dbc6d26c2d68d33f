"""A NUC with the image on it, and what a test asks its daemons: properties, journals, the identity socket."""

from __future__ import annotations

import json
import os
import random
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from images.nuc.build import Built
from tests.site_in_a_box.host import Host
from tests.site_in_a_box.image_host import ImageHost, mounted_root

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


def free_name(stem: str) -> str:
    """A name for a host that no other run on this machine has."""
    return f"{stem}-{os.getpid()}-{random.randrange(1000)}"


class SuiteHost(ImageHost):
    """A box with the image whose daemons are looked at from within."""

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        """A file of the running guest, where its root is not read-only."""
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
        for unit in units or NODE_UNITS:
            self.wait_property(f"galley-{unit}.service", "ActiveState", "active", seconds=seconds)

    def shell(self, text: str, *arguments: object, check: bool = True) -> str:
        """A line of shell as root; `{}` are replaced by quoted arguments."""
        return self.run("bash", "-c", text.format(*(shlex.quote(str(one)) for one in arguments)), check=check)


@contextmanager
def alone(image: Built, folder: Path, *, serial: str, options: Sequence[str] = ()) -> Iterator[SuiteHost]:
    """A box, without power, that reaches nothing but its own loopback; gone in the end."""
    with mounted_root(image, folder) as root:
        private = ["--private-network", *options]
        host = SuiteHost(free_name("alone"), folder / "host", root, serial=serial, options=private)
        try:
            yield host
        finally:
            host.power_off()
            host.remove()


def as_user(host: Host, uid: int, *command: str, check: bool = True) -> str:
    """Runs a command in there as a uid without further groups or privileges."""
    drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs", "--inh-caps=-all"]
    return host.run(*drop, *command, check=check)


def ask(host: Host, uid: int, route: str, socket: str = IDENTITY) -> tuple[int, dict[str, Any]]:
    """Asks the identity socket as a uid: HTTP status and the JSON body."""
    said = json.loads(as_user(host, uid, "/opt/galley/bin/python3", "-I", "-c", ASK, socket, route))
    return said["status"], said["body"]
