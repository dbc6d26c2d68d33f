"""Lost quorum: two of three hosts are dead for good, and the site is rebuilt from the survivor's own snapshot.

Real systemd, containerd, kubelet, etcd and a real endpoint; the operator orders, and nobody touches a host. One story.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.site_in_a_box.cluster_host import ClusterHost
from tests.site_in_a_box.forming_site import FormingSite, formed

pytestmark = pytest.mark.timeout(900)
STOPPED = "waiting: wipe (older cluster)"
PORTS = (2379, 2380, 6443)


def files(greeting: str) -> dict[str, str]:
    card = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: card}}\ndata: {{greeting: {greeting}}}\n"
    return {
        "apps/till/app.yaml": "v: 1\nowner: tills\nnamespace: till\n",
        "apps/till/all.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: till}\n---\n" + card,
    }


@pytest.fixture(scope="module")
def site(cluster_parts: None) -> Iterator[FormingSite]:
    with formed("galley-rb-", snapshot_seconds=15.0) as site:
        site.up(files("hello"))
        yield site


def greeting(host: ClusterHost) -> str:
    return data(host, "till", "card", "greeting")


def data(host: ClusterHost, namespace: str, name: str, key: str) -> str:
    return host.kubectl("get", "configmap", name, "-n", namespace, "-o", f"jsonpath={{.data.{key}}}", check=False)


def snapshot(site: FormingSite, host: ClusterHost) -> dict[str, Any]:
    return site.status(host).get("snapshot") or {}


def revision(host: ClusterHost) -> int:
    """Of the newest snapshot on its disk."""
    listed = host.run("sh", "-c", "grep -h revision /var/lib/galley-snapshots/*/snapshot.json 2>/dev/null", check=False)
    return max((int(line.rpartition(":")[2].strip(" ,")) for line in listed.splitlines()), default=0)


def record(host: ClusterHost) -> str:
    return host.run("cat", "/var/lib/galley-ident/formation.json", check=False)


def rebuilt(site: FormingSite, host: ClusterHost) -> bool:
    now = site.status(host)
    return now.get("state") == "ready" and not now["reason"] and '"epoch":2' in record(host)


def silent(host: ClusterHost) -> bool:
    """Whether neither kubelet nor etcd nor an API server runs there."""
    listening = host.run("cat", "/proc/net/tcp", "/proc/net/tcp6")
    taken = [port for port in PORTS if f":{port:04X} 00000000" in listening]
    return not taken and host.property("kubelet.service", "ActiveState") in ("inactive", "failed")


def test_the_survivor_restores_the_site_and_new_boxes_join_it(site: FormingSite) -> None:
    site.wait(site.ready, 420, "every node is ready")
    survivor, *others = site.hosts
    old = site.cluster(survivor)
    site.wait(lambda: greeting(survivor) == "hello", 120, "the Atlas is applied")
    survivor.kubectl("create", "configmap", "till-float", "--from-literal=cash=217")
    at = int(survivor.kubectl("get", "configmap", "till-float", "-o", "jsonpath={.metadata.resourceVersion}"))
    site.wait(lambda: revision(survivor) >= at, 90, "a scheduled snapshot holds it")
    site.wait(lambda: 0 <= snapshot(site, survivor).get("age", -1) < 600, 60, "the status says how old it is")

    for host in others:
        host.cut_power()
        site.revoke(host)
    for index in (1, 2):
        asyncio.run(site.ship(site.hosts.replace(index), f"GALLEY-REBUILT-{index}"))
    site.put(f"/v1/admin/sites/{site.site}/epoch", {"to": 2, "restore": True})
    for host in list(site.hosts)[1:]:
        host.boot()
        host.import_images(site.hosts.kube.version)
    took = site.wait(lambda: all(rebuilt(site, h) for h in site.hosts), 420, "every node is of the new cluster")
    print(f"rebuilt in {took:.0f} s after the last new box was there")

    assert site.clusters() == {old}, "one cluster, and it is the one that was saved"
    assert data(site.hosts[2], "default", "till-float", "cash") == "217"
    members = survivor.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split()
    assert sorted(members) == sorted(site.hosts.names)
    grants = site.cloud(f"/v1/fleet/sites/{site.site}")["grants"]
    assert (grants[0]["epoch"], grants[0]["node"]) == (2, site.node_id(survivor))
    site.commit(files("welcome-back"))
    site.wait(lambda: greeting(site.hosts[1]) == "welcome-back", 120, "Vessel goes on")


def test_a_host_of_the_old_epoch_that_is_switched_on_later_stops_and_begins_nothing(site: FormingSite) -> None:
    """Without a word to restore, every part of the older cluster stops, stays down over a boot, and keeps its data."""
    late = site.hosts[2]
    late.cut_power()
    site.put(f"/v1/admin/sites/{site.site}/epoch", {"to": 3})

    def stopped(host: ClusterHost) -> bool:
        return STOPPED in site.status(host).get("reason", "") and silent(host)

    site.wait(lambda: stopped(site.hosts[0]) and stopped(site.hosts[1]), 90, "those that are on stop")
    site.power(late)
    late.boot()
    site.wait(lambda: stopped(late), 120, "the one that comes later stops as well")
    site.hosts[1].cut_power()
    site.power(site.hosts[1])
    site.hosts[1].boot()
    site.wait(lambda: stopped(site.hosts[1]), 90, "a boot begins nothing")
    for host in site.hosts:
        assert host.holds("/var/lib/etcd/member/snap/db")
    assert revision(site.hosts[0]) > 0
    assert [one["epoch"] for one in site.cloud(f"/v1/fleet/sites/{site.site}")["grants"]] == [2, 1]
