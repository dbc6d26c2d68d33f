"""Machines that are updated: an endpoint with an operator's desk, a server of releases, and NUCs that are installed.

`UpdateShop(built, folder)` is a context; `installed(serial)` is a machine with the image on its disk, whose settings
name the operators; `order` signs and sends `upgrade`, and `ended` is what the cloud heard of it. Needs root.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from images.nuc.build import Built
from tests.site_in_a_box import nuc_release
from tests.site_in_a_box.nuc import GATEWAY, Nuc
from tests.site_in_a_box.nuc_shop import SITE, Shop, wait
from tests.site_in_a_box.release_server import ReleaseServer

RELEASES = 8444
TRIAL_SECONDS = 60
ENTRIES = "/efi/EFI/Linux"
LONG = 900.0
CODES = ("image-updated", "image-update-failed")


class UpdateShop(Shop):
    """Several threads may use it, each with a machine of its own."""

    def __init__(self, built: Built, folder: Path) -> None:
        super().__init__(built, folder)
        certificates = self.endpoint.ca_file.parent
        self.releases = folder / "releases"
        self.releases.mkdir()
        self.server = ReleaseServer(self.releases, certificates / "server.pem", certificates / "server-key.pem")
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> UpdateShop:
        self._stack.enter_context(self.server.serving())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self.endpoint.stop()

    def settings(self) -> dict[str, Any]:
        """See Shop; with a trial that is over soon."""
        found = super().settings()
        found["edge_commander"]["update"] = {"trial_seconds": TRIAL_SECONDS}
        return found

    def installed(self, serial: str) -> Nuc:
        """A machine with the image on its disk, which nobody started yet."""
        with self._lock:
            asyncio.run(self._site())
            code = self.desk.ship(serial, SITE, serial.lower(), "")
        place = self.folder / serial
        (place / "disk").mkdir(parents=True)
        disk = nuc_release.installed(self.built, place / "disk/disk.raw")
        self.put(disk, place, code, {}, {})
        ports = {8443: self.endpoint.port, RELEASES: self.server.port}
        return Nuc(self.built, place / "m", [disk], serial=serial, forward=ports)

    async def _site(self) -> None:
        async with self.endpoint.operator() as operator:
            await operator.put_site(SITE)

    def id_of(self, machine: Nuc) -> str:
        """Once it is enrolled."""
        wait(lambda: self.enrolled(machine.serial), "enrolled", machine, LONG)
        return str((self.node(machine.serial) or {})["node"])

    def sign(self, version: str, key: Path | None = None) -> str:
        """The SHA-256 of the document of a release that lies in its folder."""
        with self._lock:
            said = self.desk.galley(
                "release", "sign", self.releases / version, "--version", version, "--key", key or self.desk.key
            )
        return str(said["sha256"])

    def order(self, machine: Nuc, version: str) -> None:
        """An operator's `upgrade`, once the machine says what it must be signed over."""
        node = self.id_of(machine)
        digest = hashlib.sha256((self.releases / version / "release.json").read_bytes()).hexdigest()
        address = f"https://{GATEWAY}:{RELEASES}/{version}"
        before = len(self.cloud(f"/v1/nodes/{node}/commands"))

        def ready() -> bool:
            return bool(self.cloud(f"/v1/nodes/{node}/next-command")["challenge"])

        wait(ready, "a challenge", machine, LONG)
        words = [f"version={version}", f"sha256={digest}", f"address={address}"]
        file = self.folder / f"{machine.serial}-{version}.json"
        with self._lock:
            signing = [*(part for word in words for part in ("--arg", word)), "--key", self.desk.key, "--yes"]
            self.desk.galley("command", "sign", "upgrade", node, *signing, "-o", file)
            self.desk.galley("command", "send", file)
        assert len(self.cloud(f"/v1/nodes/{node}/commands")) == before + 1

    def ends(self, machine: Nuc) -> dict[str, tuple[str, int]]:
        """What the cloud heard of its updates' ends, by code: the newest text, and how often there was one."""
        node = (self.node(machine.serial) or {}).get("node")
        found = [one for one in self.cloud(f"/v1/fleet/alerts?site={SITE}") if one["node"] == node]
        return {one["code"]: (one["text"], one["count"]) for one in found if one["code"] in CODES}

    def ended(self, machine: Nuc, version: str) -> tuple[str, str, int]:
        """The same, once the cloud has it."""
        found: tuple[str, str, int] = wait(lambda: self.end_of(machine, version), f"{version} ended", machine, LONG)
        return found

    def end_of(self, machine: Nuc, version: str) -> tuple[str, str, int] | None:
        """The end of the update to that version: code, text, how many ended so; None where the cloud has none yet."""
        for code, (text, count) in self.ends(machine).items():
            if text.startswith(f"image {version}:"):
                return code, text, count
        return None


def kill_when(machine: Nuc, condition: str) -> None:
    """Cuts the power as soon as a line of shell is true in the machine."""
    machine.run(f"until {condition}; do sleep 0.02; done", seconds=LONG)
    machine.cut_power()


def until(true: Callable[[], bool], what: str, seconds: float = LONG) -> None:
    """On this side of the machine."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not after {seconds:.0f} s")
        time.sleep(0.05)


def running(machine: Nuc) -> tuple[str, str]:
    """Slot of the kernel and version of the root."""
    slot = "tr ' ' '\\n' < /proc/cmdline | sed -n s/^galley.slot=//p"
    found = machine.run(f"{slot}; sed -n s/^IMAGE_VERSION=//p /etc/os-release").split()
    return found[0], found[1]
