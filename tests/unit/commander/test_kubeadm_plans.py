"""From facts to steps: what kubeadm's operations leave to do after a crash, and what they refuse."""

from dataclasses import replace

import msgspec
import pytest

from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.kubeadm import layout, plan
from edge_commander.distribution.kubeadm.facts import EtcdMember, LocalFacts, SeedFacts
from edge_commander.distribution.kubeadm.settings import KubeadmSettings
from edge_commander.distribution.kubeadm.steps import (
    DeleteNode,
    EndProcesses,
    Finish,
    FreeTurn,
    MakeEtcd,
    Mark,
    Marker,
    NameAddress,
    PutAway,
    Remove,
    RemoveEtcdMember,
    RestartComponents,
    Run,
    WaitNode,
    Write,
)
from edge_commander.distribution.port import ClusterPlan
from edge_commander.secrets.model import Authority, SiteSecrets

SETTINGS = KubeadmSettings()
SECRETS = SiteSecrets(
    site="store-1", epoch=2, token="ab" * 32, service_account_key="SA KEY",
    cluster=Authority(cert="CA", key="CA KEY"), etcd=Authority(cert="ETCD", key="ETCD KEY"),
    front_proxy=Authority(cert="FRONT", key="FRONT KEY"),
)  # fmt: skip
PLAN = ClusterPlan(site="store-1", epoch=2, node="n1", address="10.0.0.1", servers=["10.0.0.2"], secrets=SECRETS)
BLANK = LocalFacts(versions=[SETTINGS.version])


def marker(**changes):
    return Marker(**{"site": "store-1", "epoch": 2, "node": "n1", "address": "10.0.0.1", "role": "init", **changes})


def facts(traces=True, **changes):
    return LocalFacts(marker=marker(**changes), traces=traces, versions=[SETTINGS.version], current=SETTINGS.version)


def initialise(local, formed=False, plan_=PLAN):
    return plan.initialise(plan_, local, formed=formed, public_key="PUBLIC", settings=SETTINGS)


def join(local, seed=SeedFacts(seed="10.0.0.2"), formed=False, plan_=PLAN):  # noqa: B008 - a frozen value
    return plan.join(plan_, local, seed, formed=formed, discovery=b"DISCOVERY", public_key="PUBLIC", settings=SETTINGS)


def commands(steps):
    return [" ".join(one.arguments[:2]) for one in steps if isinstance(one, Run) and one.program.endswith("kubeadm")]


def test_init_marks_first_places_authorities_then_runs_kubeadm_and_notes_the_end_last():
    steps = initialise(BLANK)
    assert steps[0] == Mark(marker(version=SETTINGS.version))
    assert steps[-1] == Finish(marker(version=SETTINGS.version))
    places = [one.path for one in steps if isinstance(one, Write)]
    assert f"{layout.PKI}/etcd/ca.key" in places and f"{layout.PKI}/sa.pub" in places
    assert commands(steps) == ["init --config"]
    assert all(steps.index(one) < len(steps) - 2 for one in steps if isinstance(one, Write))


def test_etcds_data_are_made_in_an_init_alone_and_before_kubeadm():
    steps = initialise(BLANK)
    made = steps.index(MakeEtcd("n1", "10.0.0.1", "store-1-2"))
    assert isinstance(steps[made + 1], Run)
    assert not [one for one in join(BLANK) if isinstance(one, MakeEtcd)]


def test_asked_again_when_it_is_done_nothing_is_left_but_the_name():
    name = NameAddress(SETTINGS.endpoint_name, "10.0.0.1")
    assert initialise(facts(done=True)) == [name]
    assert initialise(facts(done=True, role="join")) == [name]
    assert join(facts(done=True)) == [name]


def test_a_half_made_init_is_wiped_and_begun_again_a_whole_one_completed():
    assert commands(initialise(facts())) == ["reset --config", "init --config"]
    assert commands(initialise(facts(), formed=True)) == ["init phase"] * 4
    assert commands(initialise(facts(traces=False))) == ["init --config"]


def test_a_half_made_join_is_wiped_with_what_it_left_in_the_cluster():
    seed = SeedFacts(
        seed="10.0.0.2",
        members=[EtcdMember(7, "n2"), EtcdMember(8, "", ["https://10.0.0.1:2380"], learner=True)],
        nodes=["n1", "n2"],
    )
    steps = join(facts(role="join"), seed)
    assert commands(steps) == ["reset --config", "join --config"]
    assert [one for one in steps if isinstance(one, RemoveEtcdMember | DeleteNode)] == [
        RemoveEtcdMember("n1", 8),
        DeleteNode("n1"),
    ]


def test_a_blank_box_removes_its_predecessor_before_it_joins():
    seed = SeedFacts(seed="10.0.0.2", members=[EtcdMember(7, "n2"), EtcdMember(9, "n1")], nodes=["n1", "n2"])
    steps = join(BLANK, seed)
    removed = steps.index(RemoveEtcdMember("n1", 9))
    assert removed < steps.index(DeleteNode("n1")) < [isinstance(one, Run) for one in steps].index(True)
    assert RemoveEtcdMember("n2", 7) not in steps


def test_a_join_is_noted_when_the_node_is_a_whole_member():
    assert join(facts(role="join"), SeedFacts(), formed=True)[-1] == Finish(
        marker(role="join", version=SETTINGS.version)
    )


def test_a_join_names_a_living_server_while_it_runs_and_itself_afterwards():
    names = [one.address for one in join(BLANK) if isinstance(one, NameAddress) and one.name == SETTINGS.endpoint_name]
    assert names == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]


def test_without_a_server_that_answers_a_join_waits():
    with pytest.raises(Retryable, match=r"none of the servers answers: 10\.0\.0\.2"):
        join(BLANK, SeedFacts())


@pytest.mark.parametrize(
    ("local", "why"),
    [
        (facts(epoch=1, done=True), "epoch 1, not of store-1, epoch 2"),
        (facts(site="store-2"), "store-2"),
        (facts(role="restore"), "restore was begun here"),
        (facts(node="n9", done=True), "n9 at 10.0.0.1"),
        (LocalFacts(traces=True, versions=[SETTINGS.version]), "not made here"),
        (LocalFacts(versions=["1.35.0"]), "programs are not on this node: /opt/kubernetes/1.36.2"),
    ],
)
def test_what_is_of_another_cluster_or_cannot_be_is_refused(local, why):
    for operation in (initialise, join):
        with pytest.raises(Rejected, match=why):
            operation(local)


def test_a_plan_without_address_or_secrets_or_with_those_of_another_epoch_is_refused():
    for change, why in (
        ({"address": ""}, "no address"),
        ({"secrets": None}, "secrets are not there"),
        ({"epoch": 3}, "epoch 2, the plan of store-1, epoch 3"),
    ):
        wrong = ClusterPlan(**{**{name: getattr(PLAN, name) for name in PLAN.__dataclass_fields__}, **change})
        with pytest.raises(Rejected, match=why):
            initialise(BLANK, plan_=wrong)


def test_restore_takes_etcds_data_back_before_kubeadm_and_forgets_the_other_nodes():
    steps = plan.restore(PLAN, BLANK, "/keep/s/etcd.db", others=["n1", "n2"], public_key="PUBLIC", settings=SETTINGS)
    runs = [one for one in steps if isinstance(one, Run)]
    assert [one.program.rpartition("/")[2] for one in runs] == ["etcdutl", "kubeadm"]
    assert "--bump-revision" in runs[0].arguments and "n1=https://10.0.0.1:2380" in runs[0].arguments
    assert [one.node for one in steps if isinstance(one, DeleteNode)] == ["n2"]


def test_rotate_restarts_what_holds_its_certificate_in_memory_after_the_renewal():
    steps = plan.rotate(facts(done=True), "r1", SETTINGS)
    assert commands(steps) == ["certs renew"]
    assert [one.components for one in steps[1:] if isinstance(one, RestartComponents)] == [
        ("kube-controller-manager", "kube-scheduler")
    ]
    with pytest.raises(Rejected, match="not a member"):
        plan.rotate(BLANK, "r1", SETTINGS)


def rotate(generation=2, keys="NEW PUBLIC", accepted="PUBLIC", **changes):
    secrets = msgspec.structs.replace(SECRETS, generation=generation)
    plan_ = replace(PLAN, secrets=secrets, **changes)
    return plan.rotate(facts(done=True), "r1", SETTINGS, plan=plan_, keys=keys, accepted=accepted)


def test_rotate_by_a_plan_lets_the_api_server_know_other_keys_before_anything_else():
    steps = rotate()
    assert [one.path for one in steps if isinstance(one, Write)] == [f"{layout.PKI}/sa.key", layout.ACCEPTED]
    assert [one.data for one in steps if isinstance(one, Write)] == [b"SA KEY", b"NEW PUBLIC"]
    restarts = [one.components for one in steps if isinstance(one, RestartComponents)]
    assert restarts == [("kube-apiserver",), ("kube-controller-manager", "kube-scheduler")]
    assert steps[-1] == WaitNode("n1")
    assert steps[2] == rotate(accepted="NEW PUBLIC")[2], "after a crash between files and restart it is restarted"
    assert steps[2] != rotate(keys="OTHER PUBLIC")[2]


def test_rotate_by_a_first_generation_leaves_the_api_server_alone_and_another_clusters_is_refused():
    steps = rotate(generation=1, accepted="NEW PUBLIC")
    assert not any(isinstance(one, Write) for one in steps) and commands(steps) == ["certs renew"]
    with pytest.raises(Rejected, match="the secrets are of store-1, epoch 2"):
        rotate(epoch=3)
    other = msgspec.structs.replace(SECRETS, epoch=3, generation=2)
    with pytest.raises(Rejected, match="this node is of store-1, epoch 2, not of store-1, epoch 3"):
        rotated = replace(PLAN, epoch=3, secrets=other)
        plan.rotate(facts(done=True), "r1", SETTINGS, plan=rotated, keys="K", accepted="")


def test_reset_forgets_last_and_leaves_etcd_first_where_it_may():
    own = EtcdMember(5, "n1")
    steps = plan.reset(facts(done=True), member=own, settings=SETTINGS)
    assert steps[0] == RemoveEtcdMember("n1", 5) and steps[-1] == Mark(None)
    assert commands(steps) == ["reset --config"]
    assert plan.reset(BLANK, member=None, settings=SETTINGS) == []
    assert plan.reset(LocalFacts(traces=True), member=None, settings=SETTINGS)[-1] == Mark(None)


def test_no_step_shows_a_secret():
    seed = SeedFacts(seed="10.0.0.2")
    for steps in (initialise(BLANK), join(BLANK, seed)):
        for one in steps:
            assert not [secret for secret in ("CA KEY", "SA KEY", "DISCOVERY") if secret in f"{one!r}{one.describe()}"]


def test_a_stop_puts_the_manifests_away_first_and_touches_no_data():
    steps = plan.stop(facts(done=True), SETTINGS)
    assert isinstance(steps[0], PutAway), "from here on no boot starts etcd"
    assert isinstance(steps[-1], EndProcesses)
    written = {one.path: one.data.decode() for one in steps if isinstance(one, Write)}
    mark = f"{SETTINGS.state_dir}/stopped"
    assert f"ConditionPathExists=!{mark}" in written[layout.KUBELET_DROP_IN] and written[mark] == ""
    assert not [one for one in steps if isinstance(one, Remove)]
    assert [one.arguments[0] for one in steps if isinstance(one, Run)] == ["daemon-reload", "stop"]


def test_a_stop_is_done_once_and_a_half_made_cluster_is_stopped_too():
    stopped = LocalFacts(marker=marker(done=True), traces=True, stopped=True)
    assert plan.stop(stopped, SETTINGS) == [] == plan.stop(BLANK, SETTINGS)
    assert plan.stop(facts(), SETTINGS) and plan.stop(LocalFacts(traces=True), SETTINGS)


def test_a_reset_lets_the_kubelet_start_again():
    gone = [one.path for one in plan.reset(facts(done=True), member=None, settings=SETTINGS) if isinstance(one, Remove)]
    assert {layout.KUBELET_DROP_IN, f"{SETTINGS.state_dir}/stopped"} <= set(gone)


def test_a_restored_cluster_forgets_whose_turn_it_was_before_anybody_may_ask():
    steps = plan.restore(PLAN, BLANK, "/keep/etcd.db", others=["n1", "n2"], public_key="PUBLIC", settings=SETTINGS)
    assert steps[-3:-1] == [DeleteNode("n2"), FreeTurn()] and isinstance(steps[-1], Finish)
