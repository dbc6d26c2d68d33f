"""The image's own root with a real endpoint, API server and Atlas: confinement breaks nothing, power cuts lose nothing.

A power cut here is SIGKILL to the guest's PID 1: the page cache survives, so it shows order and resumption; what
fsync promises is tested beside the outbox.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from agents.contracts.ids import node_id
from images.nuc import units
from images.nuc.build import Built
from tests.site_in_a_box.gitrepos import GitRepo
from tests.site_in_a_box.host_suite import USERS
from tests.site_in_a_box.image_shop import ImageShop
from tests.site_in_a_box.kube_site import KubeSite
from tests.site_in_a_box.lan_line import GATEWAY, LanLine

SERIAL = "GALLEY-E2E-0002"
NODE = node_id(SERIAL)
SITE = "store-00042"
MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
ACCOUNTS = "system:serviceaccount:galley-system:"
SCENARIO = {
    "v": 1,
    "scenario": "site",
    "interval_seconds": 5,
    "report_seconds": 5,
    "steps": [
        {"name": "cloud", "type": "cloud", "timeout_seconds": 5},
        {
            "name": "api",
            "type": "kubernetes",
            "namespace": "galley-synthetic",
            "kubeconfig": "/etc/galley/synthetic.kubeconfig",
            "timeout_seconds": 5,
        },
    ],
}
API_PORT = 6443
ATLAS, KUBECTL, WORK = "/run/atlas.git", "/run/kubectl", "/run/work"
"""The root is read-only, and without Kubernetes: what a restaurant brings, and a place to work at, lie in /run."""
ROWS = """
import json, sqlite3, sys
with sqlite3.connect(f"file:/var/lib/galley/{sys.argv[1]}/outbox.db?mode=ro", uri=True) as store:
    rows = store.execute("SELECT r.run, m.seq, m.kind FROM messages m JOIN runs r ON r.id = m.run")
    print(json.dumps(rows.fetchall()))
"""


def _files(greeting: str) -> dict[str, str]:
    """An Atlas of two apps, one of which needs kustomize, so kubectl in a bounded child."""
    return {
        "apps/platform/app.yaml": "v: 1\nowner: platform\nnamespace: menu\n",
        "apps/platform/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: menu\n",
        "apps/menu/app.yaml": "v: 1\nowner: menu\nnamespace: menu\nstage: 1\n",
        "apps/menu/kustomization.yaml": "namespace: menu\nresources: [card.yaml]\nlabels:\n"
        "  - pairs: {made-by: kustomize}\n",
        "apps/menu/card.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: card\n"
        f"data:\n  greeting: {greeting}\n",
    }


class World(ImageShop):
    """The node and everything around it."""

    atlas = None

    def __init__(self, built: Built, folder: Path, kube: KubeSite) -> None:
        super().__init__(built, folder, [SITE])
        self.kube = kube
        (folder / "git").mkdir()
        (folder / "api").mkdir()
        self.repository = GitRepo(folder / "git", SITE)
        self.served = folder / "served.git"
        self.served.mkdir()
        self.api = LanLine(folder / "api", self.lan, kube.port, API_PORT)

    def __enter__(self) -> Self:
        """Ships the device, and starts it."""
        super().__enter__()
        with contextlib.ExitStack() as undo:
            undo.push(self)
            self._undo.callback(self.api.down)
            self.api.up()
            self.kube.kubectl("apply", "-f", str(MANIFESTS / "namespace.yaml"))
            self.kube.kubectl("apply", "-k", str(MANIFESTS))
            self.commit("hello")
            binds = {self.kube.binaries / "kubectl": KUBECTL, self.served: ATLAS}
            self.host = self.box(1, SERIAL, self.ship(SERIAL, SITE, 1), binds)
            self.host.boot()
            self.host.wait_active(seconds=120)
            undo.pop_all()
        return self

    def settings(self, number: int) -> dict[str, Any]:
        """See ImageShop."""
        settings = super().settings(number)
        settings["vessel"] = {
            "atlas": {"url": f"file://{ATLAS}"},  # a file is the node's own word alone, never the endpoint's
            "kubeconfig": "/etc/galley/vessel.kubeconfig",
            "kubectl": KUBECTL,
            "poll_seconds": 1,
        }
        settings["edge_commander"] |= {
            "enrol_seconds": 2,
            "distribution": {"kind": "existing", "kubeconfig": "/etc/galley/commander.kubeconfig"},
        }
        return settings

    def files(self, code: str) -> dict[str, str]:
        """See ImageShop. Whose a file is follows from its name."""
        vessel = self.kube.kubeconfig_for(f"{ACCOUNTS}vessel", ["system:serviceaccounts"])
        synthetic = self.kube.kubeconfig_for(f"{ACCOUNTS}synthetic-client", ["system:serviceaccounts"])
        owned = {"commander": self.kube.kubeconfig, "vessel": vessel, "synthetic": synthetic}
        here = f"https://{GATEWAY}:{API_PORT}"
        access = {f"{who}.kubeconfig": file.read_text().replace(self.kube.url, here) for who, file in owned.items()}
        return {**super().files(code), **access, "scenario.yaml": yaml.safe_dump(SCENARIO)}

    def commit(self, greeting: str) -> None:
        """Commits, and lays the repository where the node sees it. git serves no repository of another user."""
        self.repository.commit(_files(greeting))
        for part in ("objects", "."):  # a branch never names what is not there yet
            shutil.copytree(self.repository.bare / part, self.served / part, dirs_exist_ok=True)
        for path in [self.served, *self.served.rglob("*")]:
            os.chown(path, USERS["vessel"], USERS["vessel"])

    def node(self) -> dict[str, Any]:
        """The node as the endpoint knows it."""
        found: list[dict[str, Any]] = self.cloud("GET", f"/v1/fleet/nodes?site={SITE}")
        return found[0]

    def greeting(self) -> str:
        """What of the Atlas is in the cluster."""
        return self.kube.kubectl(
            "get", "configmap", "card", "-n", "menu", "-o", "jsonpath={.data.greeting}", "--ignore-not-found"
        )

    def queued(self, unit: str) -> set[tuple[str, int, str]]:
        """What lies in a unit's outbox: run, sequence number, kind."""
        said = self.host.run("/opt/galley/bin/python3", "-I", "-c", ROWS, unit)
        return {(run, seq, kind) for run, seq, kind in json.loads(said)}

    def settled(self, stream: str) -> Callable[[str, int], bool]:
        """Tells whether the endpoint has a message of a stream; one that was declared dropped it has not."""
        view = self.cloud("GET", f"/v1/fleet/nodes/{NODE}/streams")
        runs = {one["run"]: one for one in view["streams"] if one["stream"] == stream}
        gaps = [one for one in view["gaps"] if one["stream"] == stream]

        def has(run: str, seq: int) -> bool:
            one = runs.get(run)
            if one is None or any(g["run"] == run and g["first"] <= seq <= g["last"] for g in gaps):
                return False
            return seq <= int(one["ack"]) or any(a <= seq <= b for a, b in one.get("have", []))

        return has


def until(what: str, probe: Callable[[], Any], seconds: float = 60) -> Any:
    """Polls until the probe's answer is true, and returns it."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.3)
    return found


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, kube_binaries: Path, kube_folder: Path, etcd: Any, image: Built
) -> Iterator[World]:
    with (
        KubeSite(
            "units", kube_folder / "units", etcd, controllers=False, binaries=kube_binaries, names=[GATEWAY]
        ) as kube,
        World(image, tmp_path_factory.mktemp("units"), kube) as world,
    ):
        yield world


def test_beats_arrive_and_the_facts_are_the_hardwares(world: World) -> None:
    node = until("beats", lambda: (n := world.node())["beat"] and n["facts"] and n)
    assert node["node"] == NODE
    assert node["status"] == "enrolled"
    assert node["beat"]["via"] == "unit"
    facts = node["facts"]
    assert facts["serial"] == SERIAL
    assert facts["hardware"] == "Intel(R) Client Systems NUC12WSHi5"
    assert facts["links"], "the unit may not list the interfaces"
    assert facts["clock_synchronized"] is not None, "the unit may not ask for the clock's state"


def test_vessel_carries_out_the_atlas_from_within_its_unit(world: World) -> None:
    """Git, kubectl's kustomize and the API, under the unit's filters and as the account that manifests/ binds."""
    until("the Atlas in the cluster", lambda: world.greeting() == "hello")
    labels = world.kube.kubectl("get", "configmap", "card", "-n", "menu", "-o", "jsonpath={.metadata.labels}")
    assert json.loads(labels)["made-by"] == "kustomize"
    report = until(
        "the report",
        lambda: [
            d for d in world.cloud("GET", f"/v1/fleet/deployments?site={SITE}") if d["body"]["phase"] == "healthy"
        ],
    )
    assert {d["body"]["revision"] for d in report} == {world.repository.head()}


def test_lint_works_under_the_units_own_restrictions(world: World) -> None:
    unit = world.host.run("cat", f"/{units.UNITS}/galley-vessel.service")
    service = unit.partition("[Service]")[2].partition("[Install]")[0]
    skip = ("#", "Type=", "NotifyAccess=", "ExecStart=", "Restart", "Watchdog", "Timeout", "LoadCr", "SetCr")
    properties = [f"--property={line}" for line in service.split("\n") if "=" in line and not line.startswith(skip)]
    assert "--property=MemoryDenyWriteExecute=yes" in properties
    for name, text in _files("hello").items():
        world.host.write(f"{WORK}/{name}", text)
    command = ["systemd-run", "--quiet", "--wait", "--pipe", *properties]
    command += ["/opt/galley/bin/vessel", "lint", "--kubectl", KUBECTL, WORK]
    world.host.run(*command)
    world.host.write(f"{WORK}/apps/menu/kustomization.yaml", "resources: [nowhere.yaml]\n")
    with pytest.raises(RuntimeError, match=r"nowhere\.yaml"):
        world.host.run(*command)


def test_the_synthetic_client_measures_from_within_its_unit(world: World) -> None:
    def good() -> bool:
        found = {s["body"]["step"]: s["body"] for s in world.cloud("GET", f"/v1/fleet/synthetics?site={SITE}")}
        return set(found) == {"cloud", "api"} and all(step["ok"] > 0 for step in found.values())

    until("good results of both steps", good)


def test_the_identity_socket_gives_each_uid_its_role_alone(world: World) -> None:
    scopes = {
        "vessel": "deploy:report",
        "heartbeat": "heartbeat:write",
        "synthetic-client": "synthetic:write",
        "edge-commander": "command:read",
    }
    seen = set()
    for unit, scope in scopes.items():
        status, body = world.host.ask(USERS[unit], "/v1/token")
        assert (status, body["scope"]) == (200, scope)
        seen.add(body["access_token"])
        status, body = world.host.ask(USERS[unit], "/v1/site")
        assert (status, body["site"], body["node"]) == (200, SITE, NODE)
    assert len(seen) == len(scopes)


def test_the_identity_socket_refuses_whom_it_does_not_know(world: World) -> None:
    for uid in (0, 774, 1000, 65534):
        for route in ("/v1/token", "/v1/site", "/v1/git-credential"):
            status, body = world.host.ask(uid, route)
            assert status == 403, (uid, route, body)
            assert "access_token" not in body
    for unit in ("heartbeat", "synthetic-client", "edge-commander"):
        assert world.host.ask(USERS[unit], "/v1/git-credential")[0] == 403
    assert world.host.ask(USERS["vessel"], "/v1/git-credential")[0] != 403


def test_pods_find_the_machines_facts(world: World) -> None:
    said = world.host.as_user(65534, "cat", "/run/galley/machine.json")
    assert json.loads(said)["hardware_id"] == SERIAL


def test_nothing_secret_is_in_the_journal(world: World) -> None:
    journal = world.host.run("journalctl", "-b", "-o", "cat", "--no-pager")
    assert "ready" in journal
    code = world.host.run("cat", "/etc/galley/enrol-code").strip()
    assert code
    for secret in (code, "PRIVATE KEY", "eyJ"):
        assert secret not in journal


def test_after_a_power_cut_it_beats_on_and_what_was_queued_arrives(world: World) -> None:
    until("the first revision", lambda: world.greeting() == "hello")
    key_before = world.host.run("sha256sum", "/var/lib/galley-ident/device-keys.json")
    boot_before = until("a beat", lambda: world.node()["beat"])["boot"]
    world.endpoint.stop()
    world.commit("good-evening")
    until("the second revision, offline", lambda: world.greeting() == "good-evening")
    queued = until("reports in the outbox", lambda: {m for m in world.queued("vessel") if m[2] == "deployment"})
    beats = world.queued("heartbeat")
    world.host.cut_power()

    began = time.monotonic()
    world.host.boot()
    world.host.wait_active()
    up = time.monotonic() - began
    print(f"from power to all units ready, offline: {up:.1f} s")
    assert world.host.run("sha256sum", "/var/lib/galley-ident/device-keys.json") == key_before
    kept = world.queued("vessel")
    assert queued <= kept
    world.endpoint.start()
    until("all queued reports", lambda: all(world.settled("vessel")(run, seq) for run, seq, _ in queued))
    until("all queued beats", lambda: all(world.settled("heartbeat")(run, seq) for run, seq, _ in beats))
    node = until("a beat", lambda: (n := world.node())["status"] == "enrolled" and n)
    assert len(world.cloud("GET", "/v1/admin/enrolments")) == 0
    assert node["node"] == NODE
    assert boot_before  # the guest shares the kernel, so its boot id stays
    newest = world.cloud("GET", f"/v1/fleet/deployments?site={SITE}")
    assert {d["body"]["revision"] for d in newest if d["app"] == "menu"} == {world.repository.head()}
