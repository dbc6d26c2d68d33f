"""A worker's join: its steps, what it refuses, and that nothing of it is a server's."""

import json
from dataclasses import replace

import msgspec
import pytest

from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.kubeadm import config, layout, plan, worker
from edge_commander.distribution.kubeadm.facts import LocalFacts, MemberFacts
from edge_commander.distribution.kubeadm.membership import removal
from edge_commander.distribution.kubeadm.settings import KubeadmSettings
from edge_commander.distribution.kubeadm.steps import (
    DeleteNode,
    Finish,
    Mark,
    Marker,
    NameAddress,
    Run,
    WaitNode,
    Write,
)
from edge_commander.distribution.port import ClusterPlan, NodeAccess, Operation
from edge_commander.distribution.wire import SETTLE, Ask, problem

SETTINGS = KubeadmSettings()
ACCESS = NodeAccess(authority="CA", key="KEY", kubelet="KUBELET", commander="COMMANDER")
PLAN = ClusterPlan(site="store-1", epoch=2, node="w1", address="10.0.0.9", servers=["10.0.0.2"], access=ACCESS)
BLANK = LocalFacts(versions=[SETTINGS.version])


def marker(**changes):
    fields = {"site": "store-1", "epoch": 2, "node": "w1", "address": "10.0.0.9", "role": "worker"}
    return Marker(**{**fields, "version": SETTINGS.version, **changes})


def facts(**changes):
    return LocalFacts(marker=marker(**changes), traces=True, versions=[SETTINGS.version], current=SETTINGS.version)


def join(local, seed="10.0.0.2", named="", plan_=PLAN):
    return worker.join(plan_, local, seed, named=named, settings=SETTINGS)


def test_a_blank_box_marks_first_joins_and_is_noted_when_its_node_is_ready():
    steps = join(BLANK)
    assert steps[0] == Mark(marker()) and steps[-2:] == [WaitNode("w1"), Finish(marker())]
    assert NameAddress(SETTINGS.endpoint_name, "10.0.0.2") in steps
    written = [one for one in steps if isinstance(one, Write)]
    assert not [one.path for one in written if one.path.startswith(layout.PKI) or one.path.startswith(layout.MANIFESTS)]
    documents = next(one.data for one in written if one.path.endswith("join.yaml"))
    assert b'"controlPlane"' not in documents and b"KEY" not in documents
    discovery = json.loads(next(one.data for one in written if one.path == config.discovery_file(SETTINGS)))
    assert discovery["clusters"][0]["cluster"]["server"] == f"https://{SETTINGS.endpoint_name}:6443"


def test_what_a_crash_left_is_wiped_and_joined_anew():
    steps = join(facts())
    assert [one.arguments[0] for one in steps if isinstance(one, Run) and one.program.endswith("kubeadm")] == [
        "reset", "join",
    ]  # fmt: skip


def test_a_member_whose_server_answers_is_left_alone_and_another_is_a_name_and_a_restart():
    assert join(facts(done=True), named="10.0.0.2") == []
    steps = join(facts(done=True), seed="10.0.0.3", named="10.0.0.2")
    assert steps[0] == NameAddress(SETTINGS.endpoint_name, "10.0.0.3")
    assert [one.describe() for one in steps[1:]] == ["run systemctl restart kubelet.service"]


def test_nobody_that_answers_is_waited_for():
    for local in (BLANK, facts(), facts(done=True)):
        with pytest.raises(Retryable, match=r"none of the servers answers: 10\.0\.0\.2"):
            join(local, seed="")


@pytest.mark.parametrize("role", ["init", "join", "restore"])
@pytest.mark.parametrize("done", [True, False])
def test_a_server_is_no_worker_before_it_is_reset(role, done):
    with pytest.raises(Rejected, match="reset"):
        join(facts(role=role, done=done))


@pytest.mark.parametrize("done", [True, False])
def test_a_worker_is_no_server_before_it_is_reset(done):
    with pytest.raises(Rejected, match="worker was begun here, not join: reset"):
        plan.begun(PLAN, facts(done=done), "join")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"access": None}, "its own access"),
        ({"address": ""}, "no address"),
        ({"epoch": 3}, "reset it first"),
        ({"node": "w2"}, "this node is w1"),
    ],
)
def test_a_plan_that_is_not_this_workers_is_refused(changes, text):
    with pytest.raises(Rejected, match=text):
        join(facts(), plan_=replace(PLAN, **changes))


def test_programs_must_be_there():
    with pytest.raises(Rejected, match="programs are not on this node"):
        join(LocalFacts())


def test_a_worker_is_taken_out_by_its_node_alone():
    cluster = MemberFacts(own="n1", nodes=["n1", "w1"])
    assert removal("w1", cluster) == [DeleteNode("w1")] and removal("w2", cluster) == []


def test_the_root_half_takes_a_workers_plan_for_join_and_settle_alone():
    for operation in (Operation.JOIN.value, SETTLE):
        assert problem(Ask(operation=operation, plan=PLAN)) == ""
    assert problem(Ask(operation=Operation.INIT.value, plan=PLAN)) == "init is not for a worker"
    assert "not for a worker" in problem(Ask(operation=Operation.RESTORE.value, argument="x", plan=PLAN))


def test_no_key_is_shown():
    assert "KEY" not in repr(PLAN) and "KEY" not in repr(Ask(operation="join", plan=PLAN))
    assert "KEY" not in " ".join(one.describe() for one in join(BLANK))
    again = msgspec.json.decode(msgspec.json.encode(Ask(operation="join", plan=PLAN)), type=Ask)
    assert again.plan == PLAN


def test_the_name_in_a_hosts_file():
    text = "127.0.0.1 localhost\n# 10.0.0.1 api\n10.0.0.2 other api # x\n10.0.0.3 api\n"
    assert (config.named(text, "api"), config.named(text, "none")) == ("10.0.0.2", "")


def test_a_worker_is_reset_like_any_node_and_leaves_no_etcd():
    steps = plan.reset(facts(done=True), member=None, settings=SETTINGS)
    told = [one.describe() for one in steps]
    assert told[-1] == Mark(None).describe() and not [one for one in told if "etcd member" in one]
    assert [one.arguments[0] for one in steps if isinstance(one, Run) and one.program.endswith("kubeadm")] == ["reset"]


def test_what_is_a_servers_work_is_refused_on_a_worker():
    with pytest.raises(Rejected, match="certificates to renew"):
        plan.rotate(facts(done=True), "r", SETTINGS)
