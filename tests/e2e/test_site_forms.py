"""Three boxes with nothing but the suite and a shipping list become one cluster that follows its Atlas.

Real systemd, containerd, kubelet, etcd and a real endpoint; operators sign what is shipped; the Atlas runs the suite's
own image. Nobody forms anything but Edge Commander. One story.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.contracts.trust import MemberRole
from cloud_endpoint.rules.acceptance_report import CheckName
from edge_commander.wipe.record import Phase
from images.containers.build import agents_name
from images.containers.control_plane import PAUSE
from tests.site_in_a_box import wipe_orders as wipes
from tests.site_in_a_box.browser import Browser, chromium
from tests.site_in_a_box.cluster_host import ClusterHost, each
from tests.site_in_a_box.formation_times import cost
from tests.site_in_a_box.forming_site import FormingSite, formed, token_is_good
from tests.site_in_a_box.host_disk import IDENT, KEEP, HostDisk
from tests.site_in_a_box.kernel_clock import synchronised
from tests.site_in_a_box.operators_desk import OperatorsDesk
from tests.site_in_a_box.suite_atlas import files

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def site(cluster_parts: None, suite_images: Path) -> Iterator[FormingSite]:
    with formed("galley-fs-", operators=True, images=suite_images, parted=True) as site, synchronised():
        site.up(files("hello"))
        yield site


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
    # Healthy may be said of two nodes' pods, a moment before the third node is there.
    everywhere = {"till": "app=till", "galley-system": "app.kubernetes.io/name=heartbeat"}
    site.wait(lambda: all(running(site, *one) == members_of(site, 1) for one in everywhere.items()), 90, "pods run")
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


def key_of(token: str) -> str:
    head = token.split(".", maxsplit=1)[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


def test_an_order_changes_the_sites_secrets_and_no_token_is_refused_before_its_time(site: FormingSite) -> None:
    """Two of the three generations, one server after another: the new key signs, a pod's token of before is still good.
    The third one, a day later, drops the old key: tests/soak plays it."""
    first = site.hosts[0]
    old = first.kubectl("create", "token", "default", "--duration=2h")
    leaf = "/etc/kubernetes/pki/apiserver.crt"
    before = [host.run("sha256sum", leaf) for host in site.hosts]
    cluster = site.clusters()
    desk(site).galley("site", "rotate", site.site, "--key", desk(site).key)

    def ends() -> bool:
        for host in site.hosts:
            assert token_is_good(host, old) != "no", f"{host.name} refuses a token of before"
        return all((one.get("secrets"), one.get("runs")) == (3, 3) for one in map(site.status, site.hosts))

    took = site.wait(ends, 600, "the secrets are changed on all three")
    print(f"secrets changed in {took:.0f} s")
    new = first.kubectl("create", "token", "default")
    assert key_of(new) != key_of(old)
    site.wait(lambda: {token_is_good(host, one) for host in site.hosts for one in (old, new)} == {"yes"}, 60,
              "both tokens are good everywhere")  # fmt: skip
    assert all(host.run("sha256sum", leaf) != was for host, was in zip(site.hosts, before, strict=True))
    assert site.clusters() == cluster
    site.commit(files("new keys"))
    site.wait(lambda: greeting(site, site.hosts[2]) == "new keys", 90, "the Atlas is followed")


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


CARD = "customer paid with card"
LINES = 2000


def test_a_member_is_wiped_by_command_and_may_only_join(site: FormingSite, tmp_path: Path) -> None:
    """The first server loses `var` and `conf` for real, by an operator's signed command: it begins no second cluster,
    and what is on `ident` and `keep` is there as before. Meanwhile no other node of the site may go."""
    first = next(host for host in site.hosts if began(host))
    others = [h for h in site.hosts if h is not first]
    before, boot, began_at = site.cluster(others[0]), first.pid1, time.monotonic()
    disk = disk_of(first)
    keys = first.run("sh", "-c", f"sha256sum {IDENT}/*key*")
    first.run("sh", "-c", f"echo kept > {KEEP}/by-a-person; yes {CARD} | head -n {LINES} > /var/lib/till; sync")
    assert disk.disk.count("var", CARD.encode()) == LINES

    ordered = wipes.order(site, first, tmp_path / "first.json")
    site.wait(lambda: desk(site).galley("site", "show", site.site).get("wipe_grant"), 120, "the wipe is granted")
    wipes.order(site, others[0], tmp_path / "second.json")
    site.wait(lambda: wipes.answer(site, others[0])[0], 120, "the second one is answered")
    outcome, detail = wipes.answer(site, others[0])
    assert outcome == "refused" and ("is being wiped" in detail or "is down" in detail), detail

    site.wait(lambda: first.pid1 != boot, 240, "it starts anew")
    first.wait_rebooted(boot)
    assert disk.record is not None and disk.record.phase is Phase.DONE, first.run(
        "journalctl", "-b", "-u", "galley-wipe"
    )
    booted = time.monotonic() - began_at
    assert disk.disk.count("var", CARD.encode()) == 0
    assert first.run("cat", f"{KEEP}/by-a-person") == "kept\n"
    assert first.run("sh", "-c", f"sha256sum {IDENT}/*key*") == keys
    site.wait(lambda: well(site, first) and not began(first), 300, "it joined")
    print(f"erased and up after {booted:.0f} s, a member again after {time.monotonic() - began_at:.0f} s")
    assert site.clusters() == {before}
    everywhere = {"till": "app=till", "galley-system": "app.kubernetes.io/name=heartbeat"}
    site.wait(lambda: all(running(site, *one) == members_of(site, 1) for one in everywhere.items()), 120, "pods run")
    site.wait(lambda: wipes.answer(site, first)[0] == "done", 60, "it is answered")
    answers = [one for one in site.cloud(f"/v1/nodes/{site.node_id(first)}/commands") if one["verb"] == "wipe"]
    assert [(one["outcome"], one["sequence"]) for one in answers] == [("done", ordered)]
    assert disk.record is not None and disk.record.reported


def test_with_a_member_down_no_other_is_wiped(site: FormingSite, tmp_path: Path) -> None:
    down, asked, third = site.hosts
    down.cut_power()
    _condition = ".status.conditions[?(@.type=='Ready')].status"
    ready = ("get", "node", down.name, "-o", f"jsonpath={{{_condition}}}")
    site.wait(lambda: third.kubectl(*ready, check=False) != "True", 120, "its absence is seen")
    boot, journal = asked.pid1, disk_of(asked).record
    wipes.order(site, asked, tmp_path / "asked.json")
    site.wait(lambda: wipes.answer(site, asked)[0], 120, "it is answered")
    outcome, detail = wipes.answer(site, asked)
    assert outcome == "refused" and "quorum" in detail, detail
    assert asked.pid1 == boot and disk_of(asked).record == journal
    site.power(down)
    down.boot()
    site.wait(lambda: well(site, down), 180, "the member is back")


def disk_of(host: ClusterHost) -> HostDisk:
    assert host.disk is not None
    return host.disk


SECRET_PLACES = (
    "/etc/kubernetes/pki/ca.key", "/etc/kubernetes/admin.conf", "/etc/kubernetes/manifests/etcd.yaml",
    "/var/lib/etcd/member", "/var/lib/galley/edge-commander/site-secrets.json", "/run/galley-access/vessel.kubeconfig",
)  # fmt: skip
"""What no worker holds."""
_CONDITION = ".status.conditions[?(@.type=='Ready')]"
READY = f"jsonpath={{{_CONDITION}.status}} {{{_CONDITION}.lastTransitionTime}}"


def test_a_worker_joins_runs_a_pod_and_outlives_its_server(site: FormingSite) -> None:
    site.hosts.add()
    worker = site.hosts.more[0]
    asyncio.run(site.ship(worker, "GALLEY-FORM-WORKER", MemberRole.WORKER))
    worker.boot()
    worker.import_images(site.hosts.kube.version)
    took = site.wait(lambda: well(site, worker), 240, "the worker is a member")
    print(f"a worker joined in {took:.0f} s")
    assert not [place for place in SECRET_PLACES if worker.holds(place)]

    asker = site.hosts[0]
    labels = json.loads(asker.kubectl("get", "node", worker.name, "-o", "jsonpath={.metadata.labels}"))
    assert "node-role.kubernetes.io/control-plane" not in labels
    spec = {"spec": {"nodeName": worker.name, "terminationGracePeriodSeconds": 1}}
    asker.kubectl("run", "bread", f"--image={PAUSE}", "--image-pull-policy=Never", f"--overrides={json.dumps(spec)}")
    site.wait(lambda: phase(asker, "bread") == "Running", 90, "a pod runs on the worker")

    door = api_address(worker)
    gone = next(host for host in site.hosts if host.address == door)
    living = next(host for host in site.hosts if host is not gone)
    before = living.kubectl("get", "node", worker.name, "-o", READY)
    gone.cut_power()
    moved = site.wait(lambda: api_address(worker) not in ("", door), 120, "the worker goes by another server")
    renewed = lease(living, worker)
    site.wait(lambda: lease(living, worker) not in ("", renewed), 60, "its kubelet speaks with it")
    print(f"moved to another server in {moved:.0f} s; Ready before and after: {before}")
    assert living.kubectl("get", "node", worker.name, "-o", READY) == before, "it was not Ready meanwhile"
    site.wait(lambda: well(site, worker), 60, "the worker says so")
    assert phase(living, "bread") == "Running"


def well(site: FormingSite, host: ClusterHost) -> bool:
    now = site.status(host)
    return now.get("state") == "ready" and not now["reason"]


def phase(host: ClusterHost, pod: str) -> str:
    return host.kubectl("get", "pod", pod, "-o", "jsonpath={.status.phase}", check=False)


def api_address(host: ClusterHost) -> str:
    """Which server the control plane's name is on that host."""
    lines = (line.split() for line in host.run("cat", "/etc/hosts").splitlines())
    return next((words[0] for words in lines if "api.galley.internal" in words[1:]), "")


def lease(host: ClusterHost, node: ClusterHost) -> str:
    return host.kubectl("get", "lease", node.name, "-n", "kube-node-lease", "-o", "jsonpath={.spec.renewTime}",
                        check=False)  # fmt: skip
