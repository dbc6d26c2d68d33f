"""A restaurant's LAN, a cloud endpoint, and boxes with the NUC image in systemd-nspawn, set up by their esp alone.

    with ImageShop(built, folder) as shop:
        box = shop.box(1, site="store-1")
        box.boot()

Needs root.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from images.nuc.build import Built
from tests.site_in_a_box.endpoint import Endpoint
from tests.site_in_a_box.host_suite import SuiteHost, free_name
from tests.site_in_a_box.image_host import INTERFACE, ImageHost, mounted_root
from tests.site_in_a_box.lan import BRIDGE, Lan, address
from tests.site_in_a_box.lan_line import GATEWAY, PORT, LanLine

SCENARIO = {
    "v": 1,
    "scenario": "site",
    "interval_seconds": 5,
    "report_seconds": 5,
    "steps": [{"name": "cloud", "type": "cloud", "timeout_seconds": 5}],
}
ATLAS = {"url": "https://git.galley.test/atlas.git", "credential": "endpoint"}


class ImageShop:
    """`sites`: made at the endpoint, each with an Atlas and a credential for it."""

    atlas: Mapping[str, str] | None = ATLAS

    def __init__(self, built: Built, folder: Path, sites: Sequence[str]) -> None:
        self.folder = folder
        self.built = built
        self.sites = tuple(sites)
        folder.mkdir(parents=True, exist_ok=True)
        credentials = folder / "git-credentials.json"
        credentials.touch(mode=0o600)
        entries = {
            site: {"host": "git.galley.test", "username": site, "password": password(site)} for site in self.sites
        }
        credentials.write_text(json.dumps({"v": 1, "sites": entries}))
        git = {"credential_file": str(credentials)}
        self.endpoint = Endpoint(folder / "cloud", names=[GATEWAY], git=git)
        self.lan = Lan(folder)
        self.line = LanLine(folder, self.lan, self.endpoint.port)
        self.boxes: list[ImageHost] = []
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            self.root = undo.enter_context(mounted_root(self.built, self.folder))
            undo.callback(self.endpoint.stop)
            self.endpoint.start()
            undo.callback(self.lan.down)
            self.lan.up()
            undo.callback(self.line.down)
            self.line.up()
            undo.callback(self._power_off)
            for site in self.sites:
                self.cloud("PUT", f"/v1/admin/sites/{site}", {"labels": {}, "atlas": self.atlas})
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def _power_off(self) -> None:
        for box in self.boxes:
            box.cut_power()

    def ship(self, serial: str, site: str, number: int) -> str:
        """Puts a device on the shipping list; its one-time code."""
        body = {"hardware_id": serial, "site": site, "name": serial.lower(), "address": address(number), "code": ""}
        return str(self.cloud("POST", "/v1/admin/shipping", body)["code"])

    def box(self, number: int, serial: str, code: str, binds: Mapping[Path, str] | None = None) -> SuiteHost:
        """The box at that place of the LAN, without power, its esp as a person left it. `binds`: what of this machine's
        is seen where in there, below /run."""
        folder = self.folder / f"box{number}"
        brought = [f"--bind-ro={here}:{there}" for here, there in (binds or {}).items()]
        one = SuiteHost(
            free_name(f"box{number}"), folder, self.root, serial=serial, enter=self.lan.enter,
            options=[f"--network-bridge={BRIDGE}", *brought], environ={"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
        )  # fmt: skip
        one.put(yaml.safe_dump(self.settings(number)), self.files(code))
        self.boxes.append(one)
        return one

    def files(self, code: str) -> dict[str, str]:
        """What lies beside galley.yaml."""
        ca = self.endpoint.ca_file.read_text()
        return {"ca.pem": ca, "enrol-code": code, "scenario.yaml": yaml.safe_dump(SCENARIO)}

    def settings(self, number: int) -> dict[str, Any]:
        """The galley.yaml of the box at that place."""
        network = {"interface": INTERFACE, "address": f"{address(number)}/24", "gateway": GATEWAY}
        return {
            "v": 1,
            "endpoint": {
                "urls": [f"https://{GATEWAY}:{PORT}"],
                "issuer": self.endpoint.issuer,
                "ca_file": "/etc/galley/ca.pem",
            },
            "heartbeat": {"interval_seconds": 1},
            "synthetic_client": {"scenario": "/etc/galley/scenario.yaml"},
            "edge_commander": {
                "enrol_code_file": "/etc/galley/enrol-code",
                "enrol_seconds": 1,
                "site_seconds": 1,
                "distribution": {"kind": "kubeadm"},
            },
            "machine": {"network": network},
        }

    def cloud(self, method: str, path: str, body: Any = None) -> Any:
        """An operator's request."""

        async def ask() -> Any:
            async with self.endpoint.operator() as operator:
                return await operator.call(method, path, body)

        return asyncio.run(ask())


def password(site: str) -> str:
    """Of the site's Atlas: what a stranger must never see."""
    return f"the-atlas-of-{site}"
