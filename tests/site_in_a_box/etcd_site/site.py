"""A restaurant of such boxes on a LAN of their own, with a line to an endpoint that can be cut."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_commander.distribution.kubeadm.settings import KubeadmSettings
from tests.site_in_a_box.endpoint import Endpoint
from tests.site_in_a_box.etcd_site.box import ROOT, Box
from tests.site_in_a_box.lan import Lan
from tests.site_in_a_box.process import Program

GATEWAY = "10.77.0.1"
PORT = 8443


class EtcdSite:
    """`endpoint`: one that runs, and has GATEWAY among its names; sites may share it."""

    def __init__(self, folder: Path, endpoint: Endpoint, site: str, *, election: str = "cloud") -> None:
        self.folder, self.endpoint, self.site, self.election = folder, endpoint, site, election
        folder.mkdir(parents=True, exist_ok=True)
        self.lan = Lan(folder)
        self.boxes: list[Box] = []
        self.clusters_seen: set[str] = set()
        self.uids_seen: set[str] = set()
        pipe, relay = folder / "line", [sys.executable, "-m", "tests.site_in_a_box.relay"]
        self._out = Program("line out", [*relay, f"unix:{pipe}", f"tcp:127.0.0.1:{endpoint.port}"],
                            log=folder / "out.log", cwd=ROOT)  # fmt: skip
        self._in = Program("line in", [], log=folder / "in.log")
        self._relay_in = [*relay, f"tcp:{GATEWAY}:{PORT}", f"unix:{pipe}"]

    def up(self, count: int) -> None:
        """LAN, line, and `count` boxes, shipped and without power."""
        self.lan.up()
        self._out.start()
        self.mend_line()
        self._cloud("PUT", f"/v1/admin/sites/{self.site}", {"labels": {}, "atlas": None, "election": self.election})
        self.ship(count)

    def ship(self, count: int) -> list[Box]:
        """More boxes, on the shipping list, with their codes on their disks."""
        galley = {
            "node": {"machine": "file:/etc/galley/machine.json"},
            "endpoint": {
                "urls": [f"https://{GATEWAY}:{PORT}"],
                "issuer": self.endpoint.issuer,
                "ca_file": str(self.endpoint.ca_file),
            },
            "edge_commander": {
                "enrol_code_file": "/etc/galley/code", "enrol_seconds": 1, "site_seconds": 1, "observe_seconds": 2,
                "keys": "file",
            },
        }  # fmt: skip
        new = []
        for number in range(len(self.boxes) + 1, len(self.boxes) + count + 1):
            version = KubeadmSettings().version
            box = Box(self.folder / str(number), self.lan, number, self.site, galley, version)
            body = {"hardware_id": box.serial, "site": self.site, "name": box.name, "address": box.address, "code": ""}
            code = self._cloud("POST", "/v1/admin/shipping", body)["code"]
            (box.folder / "etc/galley/code").write_text(code)
            new.append(box)
        self.boxes += new
        return new

    def revoke(self, box: Box) -> None:
        """Takes it off the roster."""
        self._cloud("POST", f"/v1/admin/devices/{box.node}/revoke")

    def _cloud(self, method: str, path: str, body: Any = None) -> Any:
        async def ask() -> Any:
            async with self.endpoint.operator() as operator:
                return await operator.call(method, path, body)

        return asyncio.run(ask())

    def cut_line(self) -> None:
        """Nothing reaches the cloud any more."""
        self._in.stop(grace=1)

    def mend_line(self) -> None:
        """The line works (again)."""
        if not self._in.running:
            self._in = Program("line in", [*self.lan.enter, *self._relay_in], log=self.folder / "in.log", cwd=ROOT)
            self._in.start()

    def down(self) -> None:
        """Takes all of it away."""
        for box in self.boxes:
            box.cut_power()
        for program in (self._in, self._out):
            program.stop()
        self.lan.down()

    # What must hold.

    def look(self) -> None:
        """Every disk's word: one cluster was ever seen in this site. AssertionError with the story where not."""
        for box in self.boxes:
            self.clusters_seen |= box.ids()
            self.uids_seen |= {box.uid()} - {""}
        assert len(self.clusters_seen) <= 1, f"two clusters of etcd: {self.clusters_seen}\n{self.story()}"
        assert len(self.uids_seen) <= 1, f"two clusters: {self.uids_seen}\n{self.story()}"

    def members(self, box: Box) -> dict[str, bool]:
        """etcd's members as the quorum says through that box: name, and whether it votes. Empty: no answer."""
        try:
            found = json.loads(box.etcdctl("member", "list", "-w", "json"))["members"]
        except (subprocess.SubprocessError, ValueError):
            return {}
        return {one.get("name", ""): not one.get("isLearner", False) for one in found}

    def whole(self, boxes: list[Box]) -> bool:
        """Whether these, and nobody else, are the one cluster, all of them by their own records too."""
        if any(box.record().get("stage") != "member" for box in boxes):
            return False
        wanted = {box.name: True for box in boxes}
        return all(self.members(box) == wanted for box in boxes)

    def write(self, box: Box, key: str, value: str) -> None:
        """A key, through that box's server."""
        box.etcdctl("put", key, value)

    def read(self, box: Box, key: str) -> str:
        """A key's value as that box's server has it from the quorum."""
        return box.etcdctl("get", key, "--print-value-only").strip()

    def wait(self, condition: Callable[[], Any], seconds: float, what: str) -> float:
        """Polls until it is true, and looks at every disk each time; how long it took, s."""
        began = time.monotonic()
        while not condition():
            self.look()
            if time.monotonic() - began > seconds:
                raise AssertionError(f"not within {seconds:.0f} s: {what}\n{self.story()}")
            time.sleep(0.3)
        self.look()
        return time.monotonic() - began

    def story(self) -> str:
        """What to read when it went wrong."""
        return "\n".join(box.tail() for box in self.boxes)
