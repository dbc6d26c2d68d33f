"""A real Mosquitto on a free loopback port: password per client, and an ACL that keeps each to its site's topics.

The broker is Debian's `mosquitto`; its files lie in the folder given, and nothing of it outlives its starter.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.process import Program, StartError

PLACES = ("/usr/sbin", "/usr/local/sbin")


@dataclass(frozen=True)
class MqttClient:
    """One client's account. `password_file` holds the password, mode 0600."""

    username: str
    site: str
    password_file: Path
    password: str = field(repr=False)


class Mosquitto:
    """One broker. Accounts are fixed before the start: one per site, named `site-<site>`."""

    def __init__(
        self, folder: Path, sites: Sequence[str], *, tls: tuple[Path, Path] | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.folder = folder
        self.host = host
        self.port = free_port(host)
        folder.mkdir(parents=True, exist_ok=True)
        self.clients = {site: self._account(site) for site in sites}
        self._write(tls)
        self.program = Program(
            "mosquitto", [find("mosquitto"), "-c", folder / "mosquitto.conf"], log=folder / "mosquitto.log"
        )

    def _account(self, site: str) -> MqttClient:
        password = secrets.token_urlsafe(24)
        file = self.folder / f"password-{site}"
        file.touch(mode=0o600)
        file.write_text(password + "\n")
        return MqttClient(username=f"site-{site}", site=site, password_file=file, password=password)

    def _write(self, tls: tuple[Path, Path] | None) -> None:
        lines = [
            f"listener {self.port} {self.host}",
            "allow_anonymous false",
            f"password_file {self.folder / 'passwords'}",
            f"acl_file {self.folder / 'acl'}",
            "persistence false",
            "log_dest stderr",
        ]
        if os.getuid() == 0:
            lines.append("user root")  # else it could not read its own files here
        if tls is not None:
            lines += [f"certfile {tls[0]}", f"keyfile {tls[1]}"]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        acl = [f"user {one.username}\ntopic readwrite sites/{one.site}/#\n" for one in self.clients.values()]
        (self.folder / "acl").write_text("\n".join(acl))
        passwords = self.folder / "passwords"
        passwords.touch(mode=0o600)
        passwords.write_text("".join(f"{one.username}:{one.password}\n" for one in self.clients.values()))
        subprocess.run([find("mosquitto_passwd"), "-U", passwords], check=True, capture_output=True, timeout=30)

    def start(self) -> None:
        """Starts it, again on the same port after a stop; returns when it takes connections."""
        self.program.start()
        self.program.wait_ready(self._listens, seconds=10)

    def stop(self) -> None:
        """Stops it in order."""
        self.program.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self.program.kill()

    def _listens(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True


def find(name: str) -> str:
    """The program's path; StartError naming the Debian package where it is missing."""
    found = shutil.which(name) or next((f"{p}/{name}" for p in PLACES if Path(p, name).exists()), None)
    if found is None:
        raise StartError(f"{name} is not installed (Debian package: mosquitto)")
    return found
