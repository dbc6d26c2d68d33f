"""A shop of machines that run the image: an endpoint, and NUCs in QEMU that were shipped to one site of it.

`Shop(built, folder).ship("GALLEY-NUC-0001", tpm=False)` is a machine with a blank disk and a stick with its settings.
`wait` and `settled` look at one that runs. Needs root.
"""

from __future__ import annotations

import asyncio
import datetime
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from images.nuc.build import Built
from tests.site_in_a_box.endpoint import Endpoint
from tests.site_in_a_box.kube_certs import Authority
from tests.site_in_a_box.nuc import GATEWAY, Nuc, blank_disk, copy_onto, stick
from tests.site_in_a_box.operators_desk import OperatorsDesk

SITE = "store-00077"
PORT = 8443
ENROL_SECONDS = 600.0
SINCE = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
UNTIL = datetime.datetime(2040, 1, 1, tzinfo=datetime.UTC)

SCENARIO = {
    "v": 1,
    "scenario": "site",
    "interval_seconds": 30,
    "report_seconds": 30,
    "steps": [{"name": "cloud", "type": "cloud"}],
}
"""One step, which needs nothing but the endpoint."""


class Shop:
    """An endpoint, its operator's `desk`, and machines that were shipped.

    Its certificate is valid from 2000 on, and until 2040: a machine's battery clock may say anything.
    """

    def __init__(self, built: Built, folder: Path) -> None:
        self.built = built
        self.folder = folder
        self.endpoint = Endpoint(folder / "cloud", names=[GATEWAY])
        self.endpoint.prepare()
        self.certificate, self.key = self._certify(folder / "cloud/certs")
        self.endpoint.start()
        self.desk = OperatorsDesk(folder / "desk", self.endpoint)
        self.desk.open()

    def _certify(self, folder: Path) -> tuple[Path, Path]:
        authority = Authority(folder, "a fleet's CA", since=SINCE, until=UNTIL)
        made = authority.serving("server", ["127.0.0.1", "localhost", GATEWAY])
        shutil.copy(authority.ca_file, self.endpoint.ca_file)
        for file, name in zip(made, ("server.pem", "server-key.pem"), strict=True):
            shutil.copy(file, folder / name)
        return made

    def ship(
        self,
        serial: str,
        *,
        tpm: bool,
        site: str = SITE,
        atlas: dict[str, str] | None = None,
        forward: Mapping[int, int] | None = None,
        sections: Mapping[str, dict[str, Any]] | None = None,
        files: Mapping[str, Path] | None = None,
        gib: int = 8,
    ) -> Nuc:
        """A machine with a blank disk, and a stick with its settings. `sections` and `files` are laid over those."""
        asyncio.run(self._put_site(site, atlas))
        code = self.desk.ship(serial, site, serial.lower(), "")
        place = self.folder / serial
        (place / "stick").mkdir(parents=True)
        (place / "disk").mkdir()
        medium = stick(self.built, place / "stick/stick.raw")
        self.put(medium, place, code, sections or {}, files or {})
        disks = [medium, blank_disk(place / "disk/disk.raw", gib)]
        ports = {PORT: self.endpoint.port, **(forward or {})}
        return Nuc(self.built, place / "m", disks, serial=serial, tpm=tpm, forward=ports)

    async def _put_site(self, site: str, atlas: dict[str, str] | None) -> None:
        async with self.endpoint.operator() as operator:
            await operator.put_site(site, atlas=atlas)

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
            "edge_commander": {
                "enrol_code_file": "/etc/galley/enrol-code",
                "operators_file": "/etc/galley/operators.json",
                "enrol_seconds": 5,
                "site_seconds": 5,
                "command_seconds": 5,
            },
        }

    def put(
        self, medium: Path, place: Path, code: str, sections: Mapping[str, dict[str, Any]], more: Mapping[str, Path]
    ) -> None:
        """The files on the stick's esp, as a person copies them."""
        files = place / "files"
        (files / "galley").mkdir(parents=True)
        settings = self.settings()
        for name, section in sections.items():
            settings[name] = {**settings.get(name, {}), **section}
        (files / "galley.yaml").write_text(yaml.safe_dump(settings))
        (files / "galley/scenario.yaml").write_text(yaml.safe_dump(SCENARIO))
        (files / "galley/enrol-code").write_text(code)
        own = {"ca.pem": self.endpoint.ca_file, "operators.json": self.desk.document}
        for name, file in {**own, **more}.items():
            shutil.copyfile(file, files / "galley" / name)
        copy_onto(self.built, medium, files)

    def cloud(self, path: str) -> Any:
        """What the endpoint says to an operator."""

        async def ask() -> Any:
            async with self.endpoint.operator() as operator:
                return await operator.call("GET", path)

        return asyncio.run(ask())

    def node(self, name: str, site: str = SITE) -> dict[str, Any] | None:
        """The node as the endpoint knows it."""
        for one in self.cloud(f"/v1/fleet/nodes?site={site}"):
            if one["name"] == name.lower():
                found: dict[str, Any] = one
                return found
        return None

    def enrolled(self, name: str, site: str = SITE) -> bool:
        """Whether it proved to be the one that was shipped."""
        node = self.node(name, site)
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
