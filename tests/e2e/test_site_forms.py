"""Three boxes with nothing but the suite and a shipping list become one cluster that follows its Atlas.

Real systemd, containerd, kubelet, etcd and a real endpoint; operators sign what is shipped; the Atlas runs the suite's
own image. Nobody forms anything but Edge Commander. One story.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_endpoint.rules.acceptance_report import CheckName
from images.containers.build import agents_name
from tests.site_in_a_box.browser import Browser, chromium
from tests.site_in_a_box.cluster_host import ClusterHost, each
from tests.site_in_a_box.formation_times import cost
from tests.site_in_a_box.forming_site import FormingSite
from tests.site_in_a_box.kernel_clock import synchronised
from tests.site_in_a_box.kernel_settings import KernelSettings
from tests.site_in_a_box.operators_desk import OperatorsDesk
from tests.site_in_a_box.suite_atlas import files

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def site(cluster_parts: None, suite_images: Path) -> Iterator[FormingSite]:
    before = KernelSettings.now()
    folder = Path(tempfile.mkdtemp(prefix="galley-fs-"))
    folder.chmod(0o755)
    site = FormingSite(folder, operators=True, images=suite_images)
    try:
        with synchronised():
            site.up(files("hello"))
            yield site
    finally:
        site.down()
        shutil.rmtree(folder, ignore_errors=True)
    assert KernelSettings.now() == before


def greeting(site: FormingSite, host: ClusterHost) -> str:
    return host.kubectl("get", "configmap", "card", "-n", "till", "-o", "jsonpath={.data.greeting}", check=False)


def memory(host: ClusterHost) -> str:
    """What /proc says of the commander's memory: resident, and its proportional share."""
    pid = host.property("galley-edge-commander.service", "MainPID")
    lines = host.run("cat", f"/proc/{pid}/smaps_rollup").splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("Rss:", "Pss:"))}
    return ", ".join(f"{name} {mib:.1f} MB" for name, mib in found.items())


def began(host: ClusterHost) -> bool:
    """Whether it is the one that began the cluster, by its own record."""
    return '"part":"init"' in host.run("cat", "/var/lib/galley-ident/formation.json", check=False)


def running(site: FormingSite, namespace: str, labels: str) -> Counter[str]:
    """Pods that are ready there, by node; each must be of the image that `make images` makes."""
    said = site.hosts[0].kubectl("get", "pods", "-n", namespace, "-l", labels, "-o", "json")
    found: Counter[str] = Counter()
    for pod in json.loads(said)["items"]:
        (container,) = pod["status"].get("containerStatuses") or [{"ready": False}]
        if container["ready"] and not pod["metadata"].get("deletionTimestamp"):
            assert container["image"] == agents_name(), container
            found[pod["spec"]["nodeName"]] += 1
    return found


def members_of(site: FormingSite, each_: int) -> Counter[str]:
    return Counter(dict.fromkeys(site.hosts.names, each_))


def healthy(site: FormingSite) -> bool:
    found = site.cloud(f"/v1/fleet/deployments?site={site.site}")
    return any(one["app"] == "*" and one["body"]["phase"] == "healthy" for one in found)


def test_three_boxes_become_one_cluster_and_follow_their_atlas(site: FormingSite) -> None:
    formed = site.wait(site.ready, 300, "every node is ready")
    print(f"formed in {formed:.0f} s after the last boot; CPU {[round(h.cpu_seconds()) for h in site.hosts]} s")
    print(f"memory of Edge Commander: {[memory(h) for h in site.hosts]}")
    costs = each(list(site.hosts), cost)
    print(f"Galley's own CPU: {[round(one.own, 1) for one in costs]} s")
    assert all(one.root_half > 0 for one in costs), "the root half says in the journal what it used"
    assert len(site.clusters()) == 1
    members = site.hosts[0].kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split()
    assert sorted(members) == sorted(site.hosts.names)
    policies = [site.status(h)["trust"]["policy"] for h in site.hosts]
    assert policies == ["operators"] * 3
    took = site.wait(lambda: healthy(site), 180, "the Atlas is healthy")
    print(f"the Atlas is healthy {took:.0f} s later")
    assert greeting(site, site.hosts[2]) == "hello"
    assert running(site, "till", "app=till") == members_of(site, 1)
    assert running(site, "galley-system", "app.kubernetes.io/name=heartbeat") == members_of(site, 1)
    assert sum(running(site, "galley-system", "app.kubernetes.io/name=synthetic-client").values()) == 1
    site.commit(files("good evening"))
    site.wait(lambda: greeting(site, site.hosts[1]) == "good evening", 60, "the next commit is applied")


def desk(site: FormingSite) -> OperatorsDesk:
    assert site.desk is not None
    return site.desk


def test_it_passes_the_acceptance_of_a_new_site(site: FormingSite) -> None:
    """Every check of the checklist: the synthetic client's steps ran in a pod of the suite's image, from the Atlas."""
    site.wait(lambda: accepted(site), 120, "every check passes")
    report = desk(site).galley("site", "verify", site.site, "--key", desk(site).key)
    assert {check["name"]: check["ok"] for check in report["checks"]} == dict.fromkeys(CheckName, True), report
    assert report["signed_by"] == "demo"
    kept = desk(site).galley("site", "acceptance", site.site)
    assert kept["accepted"] and kept["report"]["nodes"] == sorted(site.node_id(h) for h in site.hosts)
    steps = site.cloud(f"/v1/fleet/sites/{site.site}")["synthetics"]
    assert sorted(one["step"] for one in steps) == ["api", "cloud"]


def accepted(site: FormingSite) -> bool:
    try:
        return bool(desk(site).galley("site", "verify", site.site)["accepted"])
    except RuntimeError as error:
        print(str(error)[-1500:])
        return False


def test_the_page_shows_it_green(site: FormingSite, capsys: pytest.CaptureFixture[str]) -> None:
    if chromium() is None:
        with capsys.disabled():
            print("\nnot run: no Chromium", flush=True)
        pytest.skip("no Chromium")

    async def link() -> str:
        async with site.endpoint.operator() as operator:
            return str((await operator.call("POST", "/v1/admin/login-link"))["url"])

    with Browser(site.folder, site.endpoint.folder / "certs" / "server.pem") as browser:
        browser.login(asyncio.run(link()))
        browser.until(lambda: "Well" in browser.text("table.sites tbody tr"), "the site's line says Well", 60)
        browser.run("location.hash = arguments[0]", f"#/site/{site.site}")
        for name in (*site.hosts.names, "till", "suite", "api", "cloud"):
            browser.until(lambda name=name: browser.shows(name), f"the site shows {name}")
        assert browser.complaints() == []


def test_a_roster_with_one_key_changed_is_refused_by_every_node(site: FormingSite) -> None:
    """The endpoint is stolen, its keys too: it signs a roster in which one node's key is the thief's."""
    before = {h.name: (site.status(h)["trust"]["roster"], site.status(h)["trust"]["digest"]) for h in site.hosts}
    clusters = site.clusters()
    site.thief.write_text("keys-changed")
    site.wait(lambda: all(site.status(h)["trust"]["refused"] for h in site.hosts), 60, "every node refuses it")
    refusals = [site.status(h)["trust"]["refused"].partition(":")[0] for h in site.hosts]
    assert refusals.count("keys-changed") >= 2, refusals
    wanted = {site.node_id(h) for h in site.hosts}
    site.wait(lambda: wanted <= refusing(site), 30, "the cloud is told by every node")
    assert {
        h.name: (site.status(h)["trust"]["roster"], site.status(h)["trust"]["digest"]) for h in site.hosts
    } == before
    assert site.clusters() == clusters
    assert all(site.status(h)["state"] == "ready" for h in site.hosts)
    site.commit(files("as before"))
    site.wait(lambda: greeting(site, site.hosts[0]) == "as before", 60, "the cluster works on")
    site.thief.write_text("")
    site.wait(lambda: not any(site.status(h)["trust"]["refused"] for h in site.hosts), 60, "the truth is taken again")


def refusing(site: FormingSite) -> set[str]:
    alerts = site.cloud(f"/v1/fleet/alerts?site={site.site}")
    return {one["node"] for one in alerts if one["code"] == "roster-refused"}


FOREIGN = """
import socket, ssl, sys
context = ssl._create_unverified_context()
said = b""
try:
    with context.wrap_socket(socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)) as link:
        link.sendall(f"GET {sys.argv[3]} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n".encode())
        while piece := link.recv(4096):
            said += piece
except OSError as error:
    print(type(error).__name__)
print(said.decode())
"""


def test_a_foreign_box_is_given_nothing(site: FormingSite) -> None:
    """The same LAN, and no name in the roster: not one answer from siblings, and none but a refusal from the API."""

    def ask(port: int, path: str) -> str:
        return site.hosts[0].run("python3", "-c", FOREIGN, site.hosts[1].address, str(port), path)

    for path in ("/v1/formation", "/v1/secrets", "/v1/election"):
        assert "HTTP/" not in ask(9411, path)
    said = ask(6443, "/api/v1/nodes")
    assert said.startswith("HTTP/1.1 403") or said.startswith("HTTP/1.1 401"), said


def test_all_three_lose_power_and_come_back_by_themselves(site: FormingSite) -> None:
    before = site.clusters()
    each(list(site.hosts), ClusterHost.cut_power)
    for host in site.hosts:
        site.power(host)
    each(list(site.hosts), ClusterHost.boot)
    time.sleep(3)  # what the endpoint knows is from before
    site.wait(lambda: all(site.status(h).get("state") == "ready" and not site.status(h)["reason"] for h in site.hosts),
              180, "every node is ready again")  # fmt: skip
    assert site.clusters() == before
    site.commit(files("still here"))
    site.wait(lambda: greeting(site, site.hosts[0]) == "still here", 90, "the Atlas is followed")


def test_a_dead_box_is_swapped_for_a_new_one_with_its_name(site: FormingSite) -> None:
    index = next(number for number, host in enumerate(site.hosts) if not began(host))
    dead, living = site.hosts[index], site.hosts[index - 1]
    before = site.cluster(living)
    dead.cut_power()
    desk(site).revoke(site.node_id(dead), site.site)
    new = site.hosts.replace(index)
    asyncio.run(site.ship(new, "GALLEY-FORM-NEW"))
    site.boot(new)
    took = site.wait(lambda: site.status(new).get("state") == "ready", 240, "the new box is a member")
    print(f"swapped in {took:.0f} s")
    assert site.cluster(new) == before
    ready = living.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split()
    assert sorted(ready) == sorted(site.hosts.names)


def test_a_box_whose_cluster_was_wiped_may_only_join(site: FormingSite) -> None:
    """The first server loses everything on `var`: it begins no second cluster."""
    first = next(host for host in site.hosts if began(host))
    others = [h for h in site.hosts if h is not first]
    before = site.cluster(others[0])
    first.cut_power()
    for disk in ("etcd", "kubelet"):
        first.wipe(disk)
    for place in ("etc/kubernetes", "var/lib/galley", "var/lib/galley-kubernetes"):
        shutil.rmtree(first.folder / "upper" / place, ignore_errors=True)
    site.power(first)
    first.boot()

    def joined() -> bool:
        now = site.status(first)
        return now.get("state") == "ready" and not now["reason"] and not began(first)

    site.wait(joined, 300, "it joined")
    assert site.clusters() == {before}
