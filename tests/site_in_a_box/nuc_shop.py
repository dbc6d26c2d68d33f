"""A shop of machines that run the image: an endpoint, and NUCs in QEMU that were shipped to one site of it.

`Shop(built, folder).ship("GALLEY-NUC-0001", tpm=False)` is a machine with a blank disk and a stick with its settings.
`wait` and `settled` look at one that runs. Needs root.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from images.nuc import chroot
from images.nuc.build import Built
from tests.site_in_a_box.endpoint import Endpoint
from tests.site_in_a_box.gpt import partitions
from tests.site_in_a_box.nuc import GATEWAY, Nuc, blank_disk, stick

SITE = "store-00077"
PORT = 8443
ENROL_SECONDS = 300.0


class Shop:
    """An endpoint, and machines that were shipped to one site."""

    def __init__(self, built: Built, folder: Path) -> None:
        self.built = built
        self.folder = folder
        self.endpoint = Endpoint(folder / "cloud", names=[GATEWAY])
        self.endpoint.start()

    def ship(self, serial: str, *, tpm: bool) -> Nuc:
        """A machine with a blank disk, and a stick with its settings."""
        code = asyncio.run(self._ship(serial))
        place = self.folder / serial
        (place / "stick").mkdir(parents=True)
        (place / "disk").mkdir()
        medium = stick(self.built, place / "stick/stick.raw")
        self.put(medium, place, code)
        disks = [medium, blank_disk(place / "disk/disk.raw")]
        return Nuc(self.built, place / "m", disks, serial=serial, tpm=tpm, forward={PORT: self.endpoint.port})

    async def _ship(self, serial: str) -> str:
        async with self.endpoint.operator() as operator:
            await operator.put_site(SITE)
            return await operator.ship(serial, SITE, serial.lower())

    def settings(self) -> dict[str, Any]:
        """A node's galley.yaml."""
        return {
            "v": 1,
            "endpoint": {
                "urls": [f"https://{GATEWAY}:{PORT}"],
                "issuer": self.endpoint.issuer,
                "ca_file": "/etc/galley/ca.pem",
            },
            "heartbeat": {"interval_seconds": 5},
            "synthetic_client": {"scenario": "/etc/galley/scenario.yaml"},
            "edge_commander": {"enrol_code_file": "/etc/galley/enrol-code", "enrol_seconds": 5},
        }

    def put(self, medium: Path, place: Path, code: str) -> None:
        """The files on the stick's esp, as a person copies them."""
        files = place / "files"
        (files / "galley").mkdir(parents=True)
        scenario = {
            "v": 1,
            "scenario": "site",
            "interval_seconds": 30,
            "report_seconds": 30,
            "steps": [{"name": "cloud", "type": "cloud"}],
        }
        (files / "galley.yaml").write_text(yaml.safe_dump(self.settings()))
        (files / "galley/ca.pem").write_text(self.endpoint.ca_file.read_text())
        (files / "galley/scenario.yaml").write_text(yaml.safe_dump(scenario))
        (files / "galley/enrol-code").write_text(code)
        at = f"/run/medium/{medium.name}@@{partitions(medium)['esp'].start}"
        chroot.inside(
            self.built.toolbox, "mcopy", "-s", "-i", at, "/run/files/galley.yaml", "/run/files/galley", "::",
            binds={medium.parent: "medium", files: "files"},
        )  # fmt: skip

    def cloud(self, path: str) -> Any:
        """What the endpoint says to an operator."""

        async def ask() -> Any:
            async with self.endpoint.operator() as operator:
                return await operator.call("GET", path)

        return asyncio.run(ask())

    def node(self, name: str) -> dict[str, Any] | None:
        """The node as the endpoint knows it."""
        for one in self.cloud(f"/v1/fleet/nodes?site={SITE}"):
            if one["name"] == name.lower():
                found: dict[str, Any] = one
                return found
        return None

    def enrolled(self, name: str) -> bool:
        """Whether it proved to be the one that was shipped."""
        node = self.node(name)
        return node is not None and node["status"] != "shipped"


def wait(probe: Callable[[], Any], what: str, machine: Nuc, seconds: float = ENROL_SECONDS) -> Any:
    """Until it is so; with the machine's journal where it does not become so."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        if time.monotonic() > deadline:
            said = machine.run("journalctl -b -n 60 --no-pager -o short-monotonic", check=False)
            raise AssertionError(f"{what}: not after {seconds:.0f} s\n{said}")
        time.sleep(1)
    return found


def settled(machine: Nuc) -> str:
    """What systemd says when nothing is to be started any more."""
    state = ""

    def done() -> bool:
        nonlocal state
        state = machine.run("systemctl is-system-running", check=False).strip()
        return state in ("running", "degraded")

    wait(done, "started", machine, seconds=600)
    return state
