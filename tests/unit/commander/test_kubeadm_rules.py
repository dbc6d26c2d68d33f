"""The rules of the kubeadm distribution: quorum, versions, manifests, documents, hosts file, snapshots, scrubbing."""

import json

import pytest
import yaml

from agents.core.errors import ConfigError, Rejected
from agents.core.settings import build
from edge_commander.distribution.kubeadm import config, manifest, snapshots, upgrade
from edge_commander.distribution.kubeadm.etcd import _healthy, _members
from edge_commander.distribution.kubeadm.facts import EtcdMember, LocalFacts, MemberFacts
from edge_commander.distribution.kubeadm.machine import scrubbed
from edge_commander.distribution.kubeadm.membership import majority, may_leave, removal
from edge_commander.distribution.kubeadm.settings import KubeadmSettings
from edge_commander.distribution.kubeadm.steps import DeleteNode, Link, Marker, RemoveEtcdMember, Run, WaitNode
from edge_commander.distribution.port import ClusterPlan
from edge_commander.settings import CommanderSettings

SETTINGS = KubeadmSettings()
PLAN = ClusterPlan(site="store-1", epoch=1, node="n1", address="10.0.0.1")


def cluster(members, healthy, own="n1", learners=()):
    found = [EtcdMember(number, name, learner=name in learners) for number, name in enumerate(members, 1)]
    return MemberFacts(own, found, healthy, members)


@pytest.mark.parametrize(
    ("members", "healthy", "leaving", "why"),
    [
        (["n1", "n2", "n3"], ["n1", "n2"], "n3", ""),
        (["n1", "n2", "n3"], ["n1", "n2", "n3"], "n3", ""),
        (["n1", "n2", "n3"], ["n1", "n2"], "n2", "quorum would be lost: 1 of 2"),
        (["n1", "n2", "n3"], ["n1"], "n3", "no quorum: 1 of 3"),
        (["n1", "n2"], ["n1", "n2"], "n2", ""),
        (["n1", "n2"], ["n1"], "n2", "no quorum: 1 of 2"),
        (["n1", "n2", "n3", "n4", "n5"], ["n1", "n2", "n3"], "n3", "quorum would be lost: 2 of 4"),
        (["n1", "n2", "n3", "n4", "n5"], ["n1", "n2", "n3"], "n5", ""),
    ],
)
def test_a_member_leaves_only_where_a_majority_stays(members, healthy, leaving, why):
    facts = cluster(members, healthy)
    if why:
        with pytest.raises(Rejected, match=why):
            removal(leaving, facts)
    else:
        number = members.index(leaving) + 1
        assert removal(leaving, facts) == [RemoveEtcdMember(leaving, number), DeleteNode(leaving)]


def test_who_is_not_in_leaves_nothing_to_do_and_nobody_removes_itself():
    facts = cluster(["n1", "n2", "n3"], ["n1", "n2", "n3"])
    assert removal("n9", facts) == []
    with pytest.raises(Rejected, match="does not remove itself"):
        removal("n1", facts)
    assert removal("n3", MemberFacts("n1", facts.members[:2], ["n1", "n2"], ["n1", "n3"])) == [DeleteNode("n3")]


def test_a_learner_has_no_vote_and_may_always_go():
    assert removal("n3", cluster(["n1", "n2", "n3"], ["n1"], learners=["n3"]))[0] == RemoveEtcdMember("n3", 3)
    assert [majority(n) for n in (1, 2, 3, 4, 5)] == [1, 2, 2, 3, 3]


def test_a_node_takes_itself_out_only_where_the_others_can_do_without():
    assert may_leave("n1", cluster(["n1", "n2", "n3"], ["n1", "n2", "n3"]))
    assert not may_leave("n1", cluster(["n1", "n2", "n3"], ["n1", "n2"]))
    assert not may_leave("n1", cluster(["n1"], ["n1"]))
    assert not may_leave("n1", cluster(["n2", "n3"], ["n2", "n3"]))


def done(current="1.36.2", versions=("1.36.2", "1.36.3")):
    mark = Marker(site="s", epoch=1, node="n1", address="10.0.0.1", role="init", done=True)
    return LocalFacts(marker=mark, traces=True, current=current, versions=versions)


def upgraded(wanted, node="1.36.2", of_cluster="1.36.2", plane="1.36.2", facts=None):
    return upgrade.steps(
        wanted,
        facts=facts or done(),
        node_version=node,
        cluster_version=of_cluster,
        plane=plane,
        etcd=False,
        settings=SETTINGS,
    )


def test_the_first_node_applies_the_others_follow_and_the_kubelet_comes_last():
    first, later = upgraded("v1.36.3"), upgraded("1.36.3", of_cluster="1.36.3")
    assert next(one.arguments[:2] for one in first if isinstance(one, Run)) == ("upgrade", "apply")
    assert next(one.arguments[:2] for one in later if isinstance(one, Run)) == ("upgrade", "node")
    for steps in (first, later):
        assert isinstance(steps[-3], Link) and steps[-3].target == "1.36.3"
        assert steps[-1] == WaitNode("n1", "1.36.3")


def test_an_interrupted_upgrade_goes_on_and_a_done_one_does_nothing():
    half = upgraded("1.36.3", of_cluster="1.36.3", plane="1.36.3")
    assert not [one for one in half if isinstance(one, Run) and one.program.endswith("kubeadm")]
    assert upgraded("1.36.3", "1.36.3", "1.36.3", "1.36.3", done(current="1.36.3")) == []


@pytest.mark.parametrize(
    ("node", "wanted", "why"),
    [
        ("1.36.2", "1.36.1", "does not go back"),
        ("1.35.0", "1.37.0", "may not be skipped"),
        ("1.36.2", "2.0.0", "major version"),
        ("1.36.2", "latest", "no release"),
        ("1.36.2", "1.37.0", "programs are not on this node: /opt/kubernetes/1.37.0"),
    ],
)
def test_a_version_that_may_not_follow_is_refused(node, wanted, why):
    with pytest.raises(Rejected, match=why):
        upgraded(wanted, node=node)


POD = """
metadata: {name: etcd, annotations: {a: b}}
spec: {containers: [{image: 'registry.k8s.io/etcd:v3.6.8', command: [etcd, --name=n1, --initial-cluster-state=new]}]}
"""


def test_a_manifest_is_changed_once_and_nothing_else_in_it():
    text = manifest.changed(POD, "e1")
    pod = yaml.safe_load(text)
    assert pod["spec"] == yaml.safe_load(POD)["spec"]
    assert pod["metadata"]["annotations"] == {"a": "b", "galley/revision": "e1"}
    assert manifest.changed(text, "e1") == text
    assert manifest.image_version(text) == "3.6.8"
    with pytest.raises(Rejected, match=r"etcd\.yaml: is no static pod's manifest"):
        manifest.changed("[]", "e1", "etcd.yaml")


def test_a_hosts_file_gets_one_line_for_the_name_and_keeps_the_others():
    text = "127.0.0.1 localhost\n10.0.0.9 api.galley.internal\n# api.galley.internal is ours\n"
    named = config.hosts(text, "api.galley.internal", "10.0.0.1")
    assert named == "127.0.0.1 localhost\n# api.galley.internal is ours\n10.0.0.1 api.galley.internal\n"
    assert config.hosts(named, "api.galley.internal", "10.0.0.1") == named
    assert "10.0.0.1" not in config.hosts(named, "api.galley.internal", "")


def test_documents_are_of_the_plan_and_no_token_is_for_use():
    init, of_cluster, _ = (json.loads(one) for one in config.init_documents(PLAN, SETTINGS).split(b"---\n"))
    assert init["nodeRegistration"]["name"] == "n1" and init["localAPIEndpoint"]["advertiseAddress"] == "10.0.0.1"
    assert init["bootstrapTokens"] == [{"ttl": "1m0s", "usages": ["authentication"]}]
    assert of_cluster["controlPlaneEndpoint"] == "api.galley.internal:6443"
    assert of_cluster["apiServer"]["extraArgs"] == [{"name": "shutdown-send-retry-after", "value": "true"}]
    assert of_cluster["etcd"]["local"]["extraArgs"] == [{"name": "initial-cluster-state", "value": "existing"}]
    joining = json.loads(config.join_documents(PLAN, SETTINGS))
    assert joining["discovery"] == {"file": {"kubeConfigPath": "/run/galley-kubernetes/discovery.conf"}}
    assert "certificateKey" not in joining["controlPlane"]


def test_settings_are_checked_with_their_path():
    def read(value):
        document = {"v": 1, "edge_commander": {"distribution": {"kind": "kubeadm", "kubeadm": value}}}
        return build([("galley.yaml", document)], {}, "edge_commander", CommanderSettings).own.distribution

    assert read({"version": "1.36.3"}).kubeadm.version == "1.36.3"
    for wrong, path in (({"version": "v1"}, "version"), ({"programs": "opt"}, "programs"), ({"verison": "1"}, "")):
        with pytest.raises(ConfigError, match=rf"edge_commander\.distribution\.kubeadm.*{path}"):
            read(wrong)


def test_what_an_error_quotes_of_a_program_holds_no_secret():
    text = f"join with --token abcdef.0123456789abcdef --hash sha256:{'ab' * 32}\n"
    text += "-----BEGIN KEY-----\nx\n-----END KEY-----"
    shown = scrubbed(text)
    assert not [one for one in ("0123456789abcdef", "ab" * 32, "\nx\n") if one in shown]
    assert shown.startswith("join with --token (hidden)")


def test_etcdctls_answers_are_read():
    whole = '{"ID":18446744073709551615,"name":"n1","peerURLs":["p"],"clientURLs":["c"]}'
    answer = '{"header":{},"members":[' + whole + ',{"ID":2,"isLearner":true}]}'
    first, second = _members(answer)
    assert (first.ident, first.name, first.clients) == (2**64 - 1, "n1", ("c",))
    assert second.learner and second.name == ""
    said = 'warning: x\n[{"endpoint":"c","health":true},{"endpoint":"d","health":false}]\nError: unhealthy cluster\n'
    assert _healthy(said, {"c": "n1", "d": "n2"}) == ["n1"]
    assert _healthy("nothing of use", {"c": "n1"}) == []


def test_a_snapshot_is_whole_or_not_there(tmp_path):
    new = snapshots.begin(tmp_path, "before-1")
    (new / snapshots.DATABASE).write_bytes(b"data")
    record = snapshots.Record(
        site="store-1", epoch=1, cluster="u", version="1.36.2", nodes=["n1"], sha256=snapshots.digest(new / "etcd.db")
    )
    assert list(tmp_path.glob("[!.]*")) == []
    place = snapshots.complete(new, record)
    assert place == tmp_path / "before-1" and snapshots.opened(place) == record
    (place / "etcd.db").write_bytes(b"other")
    with pytest.raises(Rejected, match="checksum differs"):
        snapshots.opened(place)
    with pytest.raises(Rejected, match="is no snapshot"):
        snapshots.opened(tmp_path / "nowhere")
    for wrong in ("", "../x", "A", ".x"):
        with pytest.raises(Rejected, match="no name for a snapshot"):
            snapshots.begin(tmp_path, wrong)


@pytest.mark.parametrize(
    ("saved", "here", "starts_in"),
    [
        ("1.36.2", ["1.36.2", "1.36.3"], "1.36.2"),
        ("1.36.3", ["1.36.2", "1.36.3"], "1.36.3"),  # an order had brought it there
        ("1.35.9", ["1.36.2"], "1.36.2"),  # the image is newer than the snapshot
        ("", ["1.36.2"], "1.36.2"),
    ],
)
def test_a_restored_cluster_starts_in_no_older_version_than_it_ran(saved, here, starts_in):
    assert upgrade.restored(saved, "1.36.2", here) == starts_in


def test_a_snapshot_of_a_version_that_is_not_here_is_not_restored_by_an_older_one():
    with pytest.raises(Rejected, match=r"is of 1\.36\.3, whose programs are not on this node"):
        upgrade.restored("1.36.3", "1.36.2", ["1.36.2"])


@pytest.mark.parametrize(
    ("cluster", "here", "joins"),
    [
        ("1.36.2", ["1.36.2", "1.36.3"], "1.36.2"),
        ("1.37.0", ["1.36.2", "1.37.0"], "1.37.0"),  # kubeadm joins no cluster of a later minor version than its own
        ("1.36.3", ["1.36.2"], "1.36.2"),
        ("1.36.1", ["1.36.1", "1.36.2"], "1.36.2"),
        ("", ["1.36.2"], "1.36.2"),
    ],
)
def test_a_server_joins_in_the_version_that_the_cluster_was_brought_to(cluster, here, joins):
    assert upgrade.joins_in(cluster, "1.36.2", here) == joins
