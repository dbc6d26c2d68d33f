"""A restaurant from nothing: hosts with nothing but the suite and a shipping list, the endpoint, and an Atlas.

The endpoint runs on this machine's loopback; hosts reach it over a relay into their LAN, which can be cut.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.contracts.ids import node_id
from agents.contracts.trust import MemberRole
from tests.site_in_a_box.cluster_host import ClusterHost, ClusterHosts, each
from tests.site_in_a_box.endpoint import Endpoint
from tests.site_in_a_box.gitrepos import GitRepo
from tests.site_in_a_box.host_suite import USERS
from tests.site_in_a_box.kernel_settings import KernelSettings
from tests.site_in_a_box.operators_desk import OperatorsDesk
from tests.site_in_a_box.process import Program

WORKER_UNITS = ("edge-commander", "heartbeat")
UNITS = ("edge-commander", "heartbeat", "vessel")
STOLEN = "tests.site_in_a_box.stolen_endpoint"
SUITE_IMAGES = "/opt/images/suite.tar"
OPERATORS_FILE = "/etc/galley/operators-1.json"
GATEWAY = "10.77.0.1"
PORT = 8443
ACCESS = "/run/galley-access"
WANTS = "/etc/systemd/system/multi-user.target.wants"
PLAYED = "/usr/local/lib/galley-machine.json"
PLAYED_FOR_DISCOVERY = f"""\
[Service]
ExecStart=
ExecStart=/opt/galley/bin/python3 -I -m edge_commander.discovery --machine file:{PLAYED}
"""


class FormingSite:
    """`count` hosts of `store-00007`. `up` boots them; nothing is formed by the harness. `addresses` False: the roster
    names none, and the hosts must find one another on their LAN.

    `operators`: entries are signed at the operator's `desk` and the nodes take nothing else; a word of
    stolen_endpoint.LIES in the file `thief` is then the moment in which the endpoint is stolen. `images`: a tar that
    every host's containerd is given besides Kubernetes' own. `parted`: the hosts have partitions, as NUCs have."""

    site = "store-00007"

    def __init__(
        self,
        folder: Path,
        *,
        count: int = 3,
        election: str = "cloud",
        addresses: bool = True,
        snapshot_seconds: float = 21600.0,
        overlap_hours: float = 24.0,
        operators: bool = False,
        images: Path | None = None,
        parted: bool = False,
    ) -> None:
        self.folder = folder
        self.addresses = addresses
        self.election = election
        self.snapshot_seconds = snapshot_seconds
        self.overlap_hours = overlap_hours
        self.images = images
        self.endpoint = Endpoint(folder / "cloud", names=[GATEWAY])
        self.desk = OperatorsDesk(folder / "desk", self.endpoint) if operators else None
        self.thief = folder / "thief"
        if operators:  # else nothing would find a lie of the endpoint
            program = self.endpoint.program
            program.command = [sys.executable, "-m", STOLEN, "--config", str(self.endpoint.config)]
            program.env = {**(program.env or os.environ), "TEST_THIEF_PLAN": str(self.thief)}
        (folder / "git").mkdir(parents=True)
        self.atlas = GitRepo(folder / "git", self.site)
        self.served = folder / "served.git"
        self.served.mkdir()
        self.hosts = ClusterHosts(
            folder,
            count=count,
            site=self.site,
            galley=self._settings(),
            options=[
                f"--bind-ro={self.served}:/srv/atlas.git",
                *([f"--bind-ro={images}:{SUITE_IMAGES}"] if images else []),
            ],
            parted=([SUITE_IMAGES] if images else []) if parted else None,
        )
        self.serials: dict[str, str] = {}
        pipe = folder / "line.sock"
        relay = [sys.executable, "-m", "tests.site_in_a_box.relay"]
        self.line = [
            Program(
                "line out", [*relay, f"unix:{pipe}", f"tcp:127.0.0.1:{self.endpoint.port}"], log=folder / "out.log"
            ),
            Program("line in", [], log=folder / "in.log"),
        ]
        self._relay_in = [*relay, f"tcp:{GATEWAY}:{PORT}", f"unix:{pipe}"]

    def _settings(self) -> dict[str, Any]:
        return {
            "node": {"machine": "file:/etc/galley/machine.json"},
            "endpoint": {
                "urls": [f"https://{GATEWAY}:{PORT}"],
                "issuer": self.endpoint.issuer,
                "ca_file": "/etc/galley/ca.pem",
            },
            "heartbeat": {"interval_seconds": 2},
            "vessel": {
                "atlas": {"url": "file:///srv/atlas.git"},
                "kubeconfig": f"{ACCESS}/vessel.kubeconfig",
                "poll_seconds": 2,
            },
            "edge_commander": {
                "enrol_code_file": "/etc/galley/enrol-code",
                **({"operators_file": OPERATORS_FILE} if self.desk else {}),
                "enrol_seconds": 2,
                "site_seconds": 2,
                "observe_seconds": 2,
                "snapshot_seconds": self.snapshot_seconds,
                "siblings": {"bind": "0.0.0.0", "port": 9411},
                "distribution": {"overlap_hours": self.overlap_hours},
            },
        }

    def up(self, files: dict[str, str]) -> None:
        """The endpoint, the line, the Atlas; then every host is shipped and booted."""
        self.commit(files)
        self.endpoint.start()
        if self.desk:
            self.desk.open()
        self.hosts.__enter__()
        self.line[0].start()
        self.mend_line()
        asyncio.run(self._ship_all())
        for host in self.hosts:  # from pods to the cloud and back
            self.hosts.lan.run("ip", "route", "add", f"10.244.{host.number}.0/24", "via", host.address)
        each(list(self.hosts), self.boot)

    def boot(self, host: ClusterHost) -> None:
        """The first boot of a box, with the images that a NUC's image brings."""
        host.boot()
        host.import_images(self.hosts.kube.version)
        if self.images and SUITE_IMAGES not in (host.own_images or ()):
            host.import_archive(SUITE_IMAGES)

    async def order(self, body: dict[str, Any]) -> None:
        """Gives the site an order, which the endpoint signs."""
        async with self.endpoint.operator() as operator:
            await operator.call("POST", f"/v1/admin/sites/{self.site}/orders", body)

    def cut_line(self) -> None:
        """Nothing reaches the cloud any more."""
        self.line[1].stop()

    def mend_line(self) -> None:
        """The line works (again)."""
        self.line[1] = Program("line in", [*self.hosts.lan.enter, *self._relay_in], log=self.folder / "in.log")
        self.line[1].start()

    async def _ship_all(self) -> None:
        async with self.endpoint.operator() as operator:
            body = {"labels": {}, "atlas": None, "election": self.election}
            await operator.call("PUT", f"/v1/admin/sites/{self.site}", body)
        for host in self.hosts:
            await self.ship(host)

    async def ship(self, host: ClusterHost, serial: str = "", role: MemberRole = MemberRole.SERVER) -> None:
        """Puts a box on the shipping list, and its code and hardware on its disk; it must be off."""
        self.serials[host.name] = serial or f"GALLEY-FORM-{host.number}"
        address = host.address if self.addresses else ""
        if self.desk:
            shipped = (self.serials[host.name], self.site, host.name, address, role.value)
            code = await asyncio.to_thread(self.desk.ship, *shipped)
        else:
            async with self.endpoint.operator() as operator:
                code = await operator.ship(self.serials[host.name], self.site, host.name, address=address)
        self._lay(host, code, UNITS if role is MemberRole.SERVER else WORKER_UNITS)

    def _lay(self, host: ClusterHost, code: str, units: Sequence[str]) -> None:
        self.power(host)
        host.path("/etc/galley/ca.pem").write_text(self.endpoint.ca_file.read_text())
        if self.desk:
            host.path(OPERATORS_FILE).write_text(self.desk.document.read_text())
        secret = host.path("/etc/galley/enrol-code")
        secret.touch(mode=0o600)
        secret.write_text(code)
        os.chown(secret, USERS["edge-commander"], USERS["edge-commander"])
        for unit in units:
            self._enable(host, f"{WANTS}/galley-{unit}.service", f"galley-{unit}.service")
        if not self.addresses:
            self._enable(host, f"{WANTS}/galley-discovery.service", "galley-discovery.service")
            host.path(PLAYED).write_text(host.path("/etc/galley/machine.json").read_text())
            host.path("/etc/systemd/system/galley-discovery.service.d/machine.conf").write_text(PLAYED_FOR_DISCOVERY)
        for half in ("galley-distribution.socket", "galley-machine.socket"):
            self._enable(host, f"/etc/systemd/system/sockets.target.wants/{half}", half)

    def _enable(self, host: ClusterHost, link: str, unit: str) -> None:
        path = host.path(link)
        path.unlink(missing_ok=True)
        path.symlink_to(f"/etc/systemd/system/{unit}")

    def revoke(self, host: ClusterHost) -> None:
        """The endpoint takes a box's token, place and vote."""
        self.put(f"/v1/admin/devices/{self.node_id(host)}/revoke", method="POST")

    def put(self, path: str, body: Any = None, *, method: str = "PUT") -> Any:
        """An operator's request."""

        async def ask() -> Any:
            async with self.endpoint.operator() as operator:
                return await operator.call(method, path, body)

        return asyncio.run(ask())

    def power(self, host: ClusterHost) -> None:
        """Gives a host that is off the boot id of its next boot."""
        facts = {
            "hardware_id": self.serials[host.name],
            "serial": self.serials[host.name],
            "boot_id": str(uuid.uuid4()),
            "hostname": host.name,
            "hardware": "Intel NUC (played by systemd-nspawn)",
        }
        host.path("/etc/galley/machine.json").write_text(json.dumps(facts))

    def commit(self, files: dict[str, str]) -> None:
        """Commits, and lays the repository where the hosts see it. git serves no repository of another user."""
        self.atlas.commit(files)
        for part in ("objects", "."):  # a branch never names what is not there yet
            shutil.copytree(self.atlas.bare / part, self.served / part, dirs_exist_ok=True)
        for path in [self.served, *self.served.rglob("*")]:
            os.chown(path, USERS["vessel"], USERS["vessel"])

    def down(self) -> None:
        """Takes all of it away."""
        for program in self.line:
            if program.running:
                program.stop()
        self.hosts.down()
        self.endpoint.stop()

    # What can be seen.

    def cloud(self, path: str) -> Any:
        """What the endpoint says to an operator."""

        async def ask() -> Any:
            async with self.endpoint.operator() as operator:
                return await operator.call("GET", path)

        return asyncio.run(ask())

    def states(self) -> dict[str, tuple[str, str]]:
        """Node's name to state and reason, as the endpoint knows them."""
        nodes = self.cloud(f"/v1/fleet/nodes?site={self.site}")
        return {
            one["name"]: ((one["state"] or {}).get("state", ""), (one["state"] or {}).get("reason", ""))
            for one in nodes
        }

    def status(self, host: ClusterHost) -> dict[str, Any]:
        """`edge-commander status` on the host."""
        found: dict[str, Any] = json.loads(host.call("edge-commander", "status", "--output", "json").stdout or "{}")
        return found

    def ready(self) -> bool:
        """Whether every node says so to the endpoint."""
        states = self.states()
        return len(states) == self.hosts.count and all(one == ("ready", "") for one in states.values())

    def cluster(self, host: ClusterHost) -> str:
        """Which cluster this host's own API server is of."""
        return host.kubectl(
            f"--server=https://{host.address}:6443", "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"
        )

    def clusters(self) -> set[str]:
        """Of all hosts: one, if all is well."""
        return set(each(list(self.hosts), self.cluster))

    def node_id(self, host: ClusterHost) -> str:
        """The node's id."""
        return node_id(self.serials[host.name])

    def journal(self, host: ClusterHost, unit: str, lines: int = 40) -> str:
        """The end of a unit's journal."""
        return host.run("journalctl", "-u", unit, "-n", str(lines), "-o", "cat", "--no-pager", check=False)

    def story(self) -> str:
        """What to read when it did not come about."""
        return "\n".join(
            f"== {host.name} {self.status(host)}\n{self.journal(host, 'galley-edge-commander')}\n"
            f"{self.journal(host, 'galley-distribution@*', 15)}\n{self.journal(host, 'galley-vessel', 10)}"
            for host in self.hosts
            if host.pid1
        )

    def wait(self, condition: Callable[[], Any], seconds: float, what: str) -> float:
        """Polls until it is true; how long it took, s."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > seconds:
                raise AssertionError(f"not within {seconds:.0f} s: {what}\n{self.states()}\n{self.story()}")
            time.sleep(0.5)
        return time.monotonic() - began


WHO = "--output=jsonpath={.status.userInfo.username}"


def token_is_good(host: ClusterHost, token: str) -> str:
    """What that host's own API server makes of a service account's token: `yes`, `no`, or empty where it is away."""
    said = host.call(
        "kubectl", "--kubeconfig=/dev/null", f"--server=https://{host.address}:6443", f"--token={token}",
        "--certificate-authority=/etc/kubernetes/pki/ca.crt", "--request-timeout=5s", "auth", "whoami", WHO,
    )  # fmt: skip
    if said.returncode == 0 and "system:serviceaccount:default:default" in said.stdout:
        return "yes"
    return "no" if "Unauthorized" in said.stderr or "must be logged in" in said.stderr else ""


@contextmanager
def formed(prefix: str, **options: Any) -> Iterator[FormingSite]:
    """A site in a folder of its own, not up yet, on a disk, as overlays cannot stack on every file system. Leaves no
    host, no folder and no setting of the kernel behind."""
    before = KernelSettings.now()
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    site = FormingSite(folder, **options)
    try:
        yield site
    finally:
        site.down()
        shutil.rmtree(folder, ignore_errors=True)
    assert KernelSettings.now() == before
