"""A site goes to the next Kubernetes by one order: one node after another, and not past one that fails.

Real hosts, a real endpoint, real kubeadm; the order is given to the endpoint, and carried out by Edge Commander alone.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator

import pytest

from images.containers.control_plane import PAUSE
from tests.site_in_a_box.cluster_host import ClusterHost, each
from tests.site_in_a_box.forming_site import FormingSite, formed

pytestmark = pytest.mark.timeout(1200)

TILL = f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: till}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: till}}}}
  template:
    metadata: {{labels: {{app: till}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: till, image: "{PAUSE}", imagePullPolicy: Never}}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: till}}
spec: {{minAvailable: 2, selector: {{matchLabels: {{app: till}}}}}}
"""


def files(greeting: str) -> dict[str, str]:
    return {
        "apps/till/app.yaml": "v: 1\nowner: tills\nnamespace: till\n",
        "apps/till/all.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: till}\n---\n" + TILL,
        "apps/till/card.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: card}\n"
        f'data: {{greeting: "{greeting}"}}\n',
    }


@pytest.fixture(scope="module")
def site(cluster_parts: None) -> Iterator[FormingSite]:
    with formed("galley-up-") as site:
        site.up(files("hello"))
        each(list(site.hosts), lambda host: host.import_images(site.hosts.kube.later))
        site.wait(site.ready, 420, "every node is ready")
        yield site


class Watcher:
    """Looks at the Nodes by whichever API server answers; `away`: the most that were not Ready or cordoned at once."""

    def __init__(self, site: FormingSite) -> None:
        self.site, self.away, self.looks = site, 0, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            if (found := nodes(self.site)) is not None:
                self.looks += 1
                self.away = max(self.away, sum(not (ready and free) for ready, free, _ in found.values()))


def nodes(site: FormingSite) -> dict[str, tuple[bool, bool, str]] | None:
    """Name to: Ready, schedulable, version. None while no API server answers."""
    for host in site.hosts:
        said = host.call("kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "--request-timeout=3s",
                         f"--server=https://{host.address}:6443", "get", "nodes", "-o", "json")  # fmt: skip
        if said.returncode == 0:
            return {one["metadata"]["name"]: _node(one) for one in json.loads(said.stdout)["items"]}
    return None


def _node(one: dict[str, dict[str, object]]) -> tuple[bool, bool, str]:
    status: dict[str, object] = one["status"]
    conditions: list[dict[str, str]] = status["conditions"]  # type: ignore[assignment]
    info: dict[str, str] = status["nodeInfo"]  # type: ignore[assignment]
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready, not one["spec"].get("unschedulable"), info["kubeletVersion"].removeprefix("v")


def versions(site: FormingSite) -> list[str]:
    found = nodes(site)
    return sorted(version for _, _, version in found.values()) if found else []


def order(site: FormingSite, number: int) -> None:
    body = {
        "site": site.site, "epoch": 1, "kind": "upgrade", "number": number, "version": site.hosts.kube.later,
        "issued_at": int(time.time()),
    }  # fmt: skip

    async def give() -> None:
        async with site.endpoint.operator() as operator:
            await operator.call("POST", f"/v1/admin/sites/{site.site}/orders", {"order": body})

    asyncio.run(give())


def reason(site: FormingSite, host: ClusterHost) -> str:
    return str(site.status(host).get("reason", ""))


def greeting(site: FormingSite) -> str:
    for host in site.hosts:
        words = ("get", "configmap", "card", "-n", "till", "-o", "jsonpath={.data.greeting}")
        if said := host.kubectl(f"--server=https://{host.address}:6443", *words, check=False):
            return said
    return ""


def test_one_node_whose_upgrade_fails_stops_the_rest(site: FormingSite) -> None:
    """Its kubeadm of the new version is damaged; the others got that version late."""
    kube = site.hosts.kube
    broken, others = site.hosts[0], list(site.hosts)[1:]
    new = f"/opt/kubernetes/{kube.later}"
    broken.run("mount", "--bind", "/bin/false", f"{new}/kubeadm")
    for host in others:
        host.run("mount", "-t", "tmpfs", "none", new)
    order(site, 10)
    site.wait(lambda: all("version not on this node" in reason(site, one) for one in others), 60, "they lack it")
    site.wait(lambda: "upgrade stopped" in reason(site, broken), 240, "the one with the damaged programs gives up")
    for host in others:
        host.run("umount", new)
    site.wait(lambda: all("upgrade stopped" in reason(site, one) for one in site.hosts), 60, "all say that it stopped")
    assert broken.name in reason(site, others[0])
    assert versions(site) == [kube.version] * 3
    found = nodes(site)
    assert found and all(ready and free for ready, free, _ in found.values()), "it serves again"
    assert "upgrade stopped" in site.states()[broken.name][1], "and the desk sees it"
    broken.run("umount", f"{new}/kubeadm")


def test_the_next_order_brings_all_three_over_one_at_a_time(site: FormingSite) -> None:
    kube = site.hosts.kube
    with Watcher(site) as watcher:
        order(site, 11)
        site.wait(lambda: kube.later in versions(site), 300, "the first runs the new version")
        site.commit(files("good evening"))
        site.wait(lambda: greeting(site) == "good evening", 120, "the Atlas is followed meanwhile")
        took = site.wait(lambda: versions(site) == [kube.later] * 3, 600, "all run the new version")
        site.wait(site.ready, 120, "all are well")
    print(f"the last two took {took:.0f} s; {watcher.looks} looks")
    assert watcher.looks > 20 and watcher.away <= 1
    found = nodes(site)
    assert found and all(ready and free for ready, free, _ in found.values())
    said = site.hosts[0].kubectl("get", "pods", "-n", "till", "-o", "jsonpath={.items[*].status.phase}").split()
    assert said.count("Running") >= 3
    for host in site.hosts:
        print(site.journal(host, "galley-distribution@*", 60))
        print(site.journal(host, "galley-edge-commander", 40))
