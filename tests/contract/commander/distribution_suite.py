"""What every Distribution must do on real hosts: one life of a cluster of three, from nothing to its restoration.

An implementation subclasses DistributionSuite and gives the fixture `site`. The tests are one story, in the order in
which they stand: one that fails leaves those behind it without ground, and they say so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from edge_commander.distribution.port import ClusterPlan
from tests.site_in_a_box.cluster_host import ClusterHost, ClusterHosts, Outcome, each

REFUSED, TRY_AGAIN = 1, 75
ETCD_MANIFEST = "/etc/kubernetes/manifests/etcd.yaml"


def done(outcome: Outcome) -> Any:
    """The answer of an operation that must have been carried out."""
    assert outcome.status == 0, outcome.said
    return outcome.answer


def refused(outcome: Outcome, why: str) -> None:
    """The operation must have been refused, and say why."""
    assert outcome.status == REFUSED and why in outcome.said, outcome


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Polls until it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)
    return found


def all_ready(site: ClusterHosts, through: int = 0, count: int | None = None) -> bool:
    """Whether so many members (default: all) are Ready, as one host sees it."""
    outcome = site[through].operate("members")
    return outcome.status == 0 and sum(one["ready"] for one in outcome.answer) == (count or site.count)


class DistributionSuite:
    """See the module. `site`: hosts that were booted, with nothing formed."""

    broken: str = ""

    @pytest.fixture(autouse=True)
    def story(self, request: pytest.FixtureRequest) -> Any:
        """Stops the story at the first test that fails; notes how long each took."""
        kind = type(self)
        assert not kind.broken, f"the story ended at {kind.broken}"
        kind.broken = request.node.name
        began = time.monotonic()
        yield
        print(f"{request.node.name}: {time.monotonic() - began:.1f} s")
        if not request.node.stash.get(FAILED, False):
            kind.broken = ""

    def test_a_node_of_no_cluster_is_asked_in_vain(self, site: ClusterHosts) -> None:
        for operation, argument in (("remove", "x"), ("snapshot", "x"), ("rotate", ""), ("upgrade", "1.36.3")):
            refused(site[0].operate(operation, argument), "not a member")
        assert not done(site[0].operate("health"))["api"]
        assert site[0].operate("members").status == TRY_AGAIN
        done(site[0].operate("reset"))

    def test_the_first_server_is_made_once_though_the_power_fails_meanwhile(self, site: ClusterHosts) -> None:
        cut_during(site[0], "init", site.plan(0))
        done(site[0].operate("init", plan=site.plan(0)))
        assert done(site[0].operate("health")) == {"api": True, "problem": ""}
        before = identity(site[0])
        done(site[0].operate("init", plan=site.plan(0)))
        assert identity(site[0]) == before

    def test_the_others_join_one_after_the_other_though_the_power_fails_meanwhile(self, site: ClusterHosts) -> None:
        done(site[1].operate("join", plan=site.plan(1, servers=[0])))
        cut_during(site[2], "join", site.plan(2, servers=[0, 1]))
        done(site[2].operate("join", plan=site.plan(2, servers=[0, 1])))
        again = site[2].operate("join", plan=site.plan(2, servers=[0, 1]))
        done(again)
        assert "run " not in again.said
        wait_for(lambda: all_ready(site), 60, "three are Ready")

    def test_each_node_names_the_same_members(self, site: ClusterHosts) -> None:
        answers = each(list(site), lambda host: done(host.operate("members")))
        assert answers[0] == answers[1] == answers[2]
        assert [one["name"] for one in answers[0]] == sorted(site.names)
        assert all(one["server"] and one["version"] == f"v{site.kube.version}" for one in answers[0])

    def test_another_epoch_is_refused_on_a_node_of_this_one(self, site: ClusterHosts) -> None:
        refused(site[0].operate("init", plan=site.plan(0, epoch=2)), "reset it first")
        refused(site[1].operate("join", plan=site.plan(1, servers=[0], epoch=2)), "reset it first")

    def test_a_snapshot_is_saved_with_its_record(self, site: ClusterHosts) -> None:
        site[0].kubectl("create", "configmap", "before")
        place = done(site[0].operate("snapshot", "first"))
        record = json.loads(site[0].run("cat", f"{place}/snapshot.json"))
        assert record["site"] == site.site and record["epoch"] == 1 and sorted(record["nodes"]) == sorted(site.names)
        site[0].kubectl("create", "configmap", "after")
        refused(site[0].operate("restore", place, plan=site.plan(0, epoch=2)), "reset it first")

    def test_certificates_are_renewed_and_the_authority_stays(self, site: ClusterHosts) -> None:
        before = serving(site[1]), site[1].run("cat", "/etc/kubernetes/pki/ca.crt")
        done(site[1].operate("rotate"))
        wait_for(lambda: serving(site[1]) != before[0], 90, "its API server shows the renewed certificate")
        assert site[1].run("cat", "/etc/kubernetes/pki/ca.crt") == before[1]
        assert site[1].api_ready()

    def test_one_node_alone_is_upgraded(self, site: ClusterHosts) -> None:
        site[1].import_images(site.kube.later)
        done(site[1].operate("upgrade", f"v{site.kube.later}"))
        versions = [one["version"] for one in done(site[0].operate("members"))]
        assert versions == [f"v{site.kube.version}", f"v{site.kube.later}", f"v{site.kube.version}"]
        assert (
            site[1]
            .kubectl("get", "--raw=/version", f"--server=https://{site[1].address}:6443")
            .count(f'"gitVersion": "v{site.kube.later}"')
        )
        again = site[1].operate("upgrade", site.kube.later)
        done(again)
        assert again.said == ""
        refused(site[1].operate("upgrade", site.kube.version), "does not go back")
        refused(site[0].operate("upgrade", "1.38.0"), "may not be skipped")

    def test_a_host_whose_power_is_cut_comes_back_by_itself(self, site: ClusterHosts) -> None:
        site[1].cut_power()
        wait_for(lambda: writes(site[0], "while-one-is-off"), 30, "two write on")
        site[1].boot()
        wait_for(site[1].api_ready, 90, "its API server is ready")
        wait_for(lambda: all_ready(site, through=1), 90, "three are Ready")

    def test_three_whose_power_is_cut_come_back_by_themselves(self, site: ClusterHosts) -> None:
        before = identity(site[0])
        each(list(site), ClusterHost.cut_power)
        each(list(site), ClusterHost.boot)
        wait_for(lambda: all(each(list(site), ClusterHost.api_ready)), 150, "three API servers are ready")
        wait_for(lambda: writes(site[2], "after-the-cut"), 60, "it takes writes")
        assert identity(site[0]) == before

    def test_a_dead_member_is_replaced_by_a_blank_box_of_its_name(self, site: ClusterHosts) -> None:
        wait_for(lambda: all_ready(site), 90, "three are Ready")
        site[2].cut_power()
        refused(site[0].operate("remove", site.names[1]), "quorum would be lost")
        done(site[0].operate("remove", site.names[2]))
        assert done(site[0].operate("remove", site.names[2])) is None
        assert [one["name"] for one in done(site[0].operate("members"))] == sorted(site.names[:2])
        site.replace(2).boot()
        site[2].import_images(site.kube.later)
        site[2].import_images(site.kube.version)
        done(site[2].operate("join", plan=site.plan(2, servers=[0, 1])))
        wait_for(lambda: all_ready(site, through=2), 90, "three are Ready")

    def test_a_member_whose_data_is_lost_makes_no_second_cluster(self, site: ClusterHosts) -> None:
        site[0].cut_power()
        site[0].wipe("etcd")
        site[0].boot()
        deadline = time.monotonic() + 12
        while time.monotonic() < deadline:
            assert not site[0].api_ready()
            time.sleep(2)
        done(site[0].operate("reset"))
        done(site[1].operate("remove", site.names[0]))
        assert [one["name"] for one in done(site[1].operate("members"))] == sorted(site.names[1:])

    def test_a_node_that_is_reset_has_left(self, site: ClusterHosts) -> None:
        done(site[2].operate("reset"))
        done(site[2].operate("reset"))
        assert traces(site[2]) == ""
        gone = site[1].operate("remove", site.names[2])
        done(gone)
        assert "remove etcd member" not in gone.said, "it left etcd itself"
        assert [one["name"] for one in done(site[1].operate("members"))] == [site.names[1]]

    def test_a_node_that_is_stopped_is_down_and_keeps_its_data(self, site: ClusterHosts) -> None:
        before = data(site[1])
        done(site[1].operate("stop"))
        assert not site[1].api_ready() and site[1].property("kubelet.service", "ActiveState") != "active"
        again = site[1].operate("stop")
        done(again)
        assert again.said == "" and before and data(site[1]) == before

    def test_a_snapshot_becomes_a_cluster_of_the_next_epoch(self, site: ClusterHosts) -> None:
        assert [one["path"] for one in done(site[0].operate("snapshots"))] == ["/var/lib/galley-snapshots/first"]
        done(site[1].operate("reset"))
        assert traces(site[1]) == ""
        done(site[0].operate("restore", "/var/lib/galley-snapshots/first", plan=site.plan(0, epoch=2)))
        kept = site[0].kubectl("get", "configmaps", "-o", "name").split()
        assert "configmap/before" in kept and "configmap/after" not in kept
        assert [one["name"] for one in done(site[0].operate("members"))] == [site.names[0]]
        wait_for(lambda: all_ready(site, count=1), 60, "it is Ready")


def cut_during(host: ClusterHost, operation: str, plan: ClusterPlan) -> None:
    """Cuts the power in the middle of an operation, once etcd is about to start, and boots again."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(host.operate, operation, plan=plan)
        wait_for(lambda: asked.done() or host.holds(ETCD_MANIFEST), 180, f"{operation} has come to etcd")
        host.cut_power()
        assert asked.result().status != 0
    host.boot()


def identity(host: ClusterHost) -> str:
    """Of the cluster that answers there."""
    server = f"--server=https://{host.address}:6443"
    return host.kubectl(server, "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")


def traces(host: ClusterHost) -> str:
    """Files of a cluster."""
    return host.run("find", "/etc/kubernetes", "/var/lib/etcd", "-type", "f").strip()


def data(host: ClusterHost) -> list[str]:
    """What a person could still rebuild the cluster of."""
    return host.run("find", "/etc/kubernetes/pki", "/var/lib/etcd/member", "-type", "f", "-name", "[dc][ba]*").split()


def serving(host: ClusterHost) -> str:
    """The certificate that the API server's port shows, not the one on the disk."""
    script = "import ssl, sys; print(ssl.get_server_certificate((sys.argv[1], 6443)))"
    return host.run("python3", "-c", script, host.address)


def writes(host: ClusterHost, name: str) -> bool:
    """Whether its own API server takes a write."""
    done = host.call("kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", f"--server=https://{host.address}:6443",
                     "--request-timeout=5s", "create", "configmap", name)  # fmt: skip
    return done.returncode == 0 or "AlreadyExists" in done.stderr


FAILED = pytest.StashKey[bool]()
