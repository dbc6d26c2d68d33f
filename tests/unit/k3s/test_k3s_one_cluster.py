"""Never a second cluster: whatever is deleted, restarted, asked twice or asked of the wrong node."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.k3s import reference
from edge_commander.distribution.k3s.facts import Facts, Marker, Role
from edge_commander.distribution.k3s.files import GATE, MAY_FORM
from edge_commander.distribution.k3s.plan import plan_init, plan_join, plan_restore, plan_rotate
from edge_commander.distribution.k3s.steps import AwaitReady, Record, Run, WriteFile
from tests.fakes.k3s_kit import SETTINGS, plan, secrets
from tests.fakes.k3s_world import World

SERVER = ("192.0.2.1",)


def marked(role: Role, epoch: int = 1, begun: int = 1, site: str = "store-01234") -> Marker:
    return Marker(site=site, node="nuc-1", epoch=epoch, role=role, begun=begun)


async def test_a_member_that_lost_its_etcd_does_not_begin_again(world: World) -> None:
    """k3k#836: one deleted directory, and a second cluster would start without a word."""
    await world.k3s().init(plan())
    world.lose_etcd()
    with pytest.raises(Rejected, match="its etcd is gone: it does not begin a second one"):
        await world.k3s().init(plan())
    world.power_cut()
    world.start_unit()
    assert world.events == ["new-cluster", "gated", "gated"] and not world.active


async def test_even_past_the_gate_k3s_itself_would_join_and_not_begin(world: World) -> None:
    await world.k3s().init(plan())
    world.lose_etcd()
    world.place(GATE).unlink()
    world.start_unit()
    assert world.events == ["new-cluster", "join-failed"]
    assert "cluster-init" not in world.config()


async def test_a_member_that_lost_its_etcd_may_join_its_siblings(world: World) -> None:
    await world.k3s().init(plan())
    world.lose_etcd()
    (world.root / "cluster-answers").touch()
    await world.k3s().join(plan(servers=("192.0.2.2",)))
    assert world.events == ["new-cluster", "joined"] and world.config()["server"] == "https://192.0.2.2:6443"


async def test_the_gate_is_closed_again_when_the_cluster_is_there(world: World) -> None:
    await world.k3s().init(plan())
    assert not world.place(MAY_FORM).exists()
    assert world.place(GATE).read_text().count("Assert") == 2


async def test_an_etcd_that_goes_while_k3s_is_being_joined_does_not_begin(world: World) -> None:
    (world.root / "cluster-answers").touch()
    await world.k3s().join(plan("nuc-2", SERVER))
    world.lose_etcd()
    (world.root / "cluster-answers").unlink()
    with pytest.raises(Retryable, match=r"no server answers: 192\.0\.2\.1"):
        await world.k3s().join(plan("nuc-2", SERVER))
    assert world.events == ["joined"]


async def test_a_reset_node_may_only_join_in_an_epoch_that_it_began(world: World) -> None:
    await world.k3s().init(plan())
    await world.k3s().reset()
    with pytest.raises(Rejected, match="a cluster of epoch 1 was begun here already: this node may only join"):
        await world.k3s().init(plan())
    await world.k3s().init(plan(epoch=2))
    assert world.events == ["new-cluster", "new-cluster"]
    with pytest.raises(Rejected, match="here is a cluster of epoch 2, not of epoch 3"):
        await world.k3s().init(plan(epoch=3))


async def test_a_damaged_marker_begins_nothing_and_may_join(world: World) -> None:
    await world.k3s().init(plan())
    world.lose_etcd()
    world.marker.write_text("{")
    for _ in range(2):
        with pytest.raises(Rejected, match=r"k3s\.json\.corrupt-1: is damaged: this node does not init"):
            await world.k3s().init(plan())
    with pytest.raises(Rejected, match="does not restore"):
        await world.k3s().restore("/keep/k3s/etcd/x", plan(epoch=2))
    (world.root / "cluster-answers").touch()
    await world.k3s().join(plan(servers=("192.0.2.2",)))
    assert world.events == ["new-cluster", "joined"]


REFUSED = {
    "init on an etcd of others": (plan_init, Facts(etcd=True), plan(), "an etcd that we did not begin"),
    "join with an etcd of others": (plan_join, Facts(etcd=True), plan("n", SERVER), "an etcd that we did not begin"),
    "init where a join was begun": (plan_init, Facts(marked(Role.JOINING)), plan(), "cannot init: .* is joining"),
    "join where an init was begun": (
        plan_join,
        Facts(marked(Role.FORMING)),
        plan("n", SERVER),
        "join: .* forming",
    ),
    "init where a restore was begun": (plan_init, Facts(marked(Role.RESTORING)), plan(), "init: .* restoring"),
    "join of another epoch": (
        plan_join,
        Facts(marked(Role.MEMBER)),
        plan("n", SERVER, 2),
        "epoch 1, not of epoch 2",
    ),
    "init of an older epoch": (plan_init, Facts(marked(Role.MEMBER, 3, 3)), plan(), "of epoch 3, not of epoch 1"),
    "another site": (plan_init, Facts(marked(Role.NONE, 0, 0, "store-00001")), plan(), "belongs to store-00001"),
    "no server to join": (plan_join, Facts(), plan("n"), "servers: there is no server to join"),
    "no secrets": (plan_init, Facts(), replace(plan(), secrets=None), "secrets: the plan brings no secrets"),
    "secrets of another epoch": (
        plan_init,
        Facts(),
        replace(plan(), secrets=secrets(2)),
        "epoch 2; .* epoch 1",
    ),
    "no node": (plan_init, Facts(), plan(""), "names no epoch or no node"),
    "no epoch": (plan_init, Facts(), replace(plan(), epoch=0), "names no epoch or no node"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    make, facts, wanted, why = REFUSED[case]
    with pytest.raises(Rejected, match=why):
        make(replace(facts, answering=SERVER), wanted, SETTINGS)


def test_restore_refuses_an_epoch_that_was_begun_here_and_an_older_one() -> None:
    for marker, why in (
        (marked(Role.NONE, 0, 2), "a cluster of epoch 2 was begun here already"),
        (marked(Role.MEMBER, 3, 3), "of epoch 3, not of epoch 2"),
        (marked(Role.FORMING, 2, 2), "cannot restore: this node is forming"),
    ):
        with pytest.raises(Rejected, match=why):
            plan_restore(Facts(marker), "/s", plan(epoch=2), SETTINGS)


def test_the_marker_is_written_before_anything_and_member_last() -> None:
    for steps, begins in (
        (plan_init(Facts(), plan(), SETTINGS), Role.FORMING),
        (plan_join(Facts(answering=SERVER), plan("n", SERVER), SETTINGS), Role.JOINING),
        (plan_restore(Facts(), "/s", plan(), SETTINGS), Role.RESTORING),
    ):
        roles = [step.marker.role for step in steps if isinstance(step, Record)]
        assert isinstance(steps[0], Record) and roles[0] is begins and roles[-1] is Role.MEMBER
        member = next(i for i, step in enumerate(steps) if isinstance(step, Record) and step.marker.role is Role.MEMBER)
        ready = next(i for i, step in enumerate(steps) if step.describe().startswith("wait until Node"))
        assert ready < member


def test_where_the_atlas_brings_the_network_no_node_can_be_ready_before_it() -> None:
    for backend, network in (("vxlan", True), ("none", False)):
        settings = msgspec.structs.replace(SETTINGS, flannel_backend=backend)
        steps = plan_init(Facts(), plan(), settings)
        assert [step.network for step in steps if isinstance(step, AwaitReady)] == [network]


def test_a_join_that_hangs_on_one_server_goes_to_another_and_a_joined_one_is_left_alone() -> None:
    """Only before etcd is there does the address matter; restarting a member for it would help nobody."""
    two = plan("nuc-3", ("192.0.2.1", "192.0.2.2"))
    facts = Facts(marked(Role.JOINING), active=True, answering=("192.0.2.2",))
    for etcd, restarts in ((False, 1), (True, 0)):
        steps = plan_join(replace(facts, etcd=etcd), two, SETTINGS)
        assert len([step for step in steps if isinstance(step, Run) and "restart" in step.words]) == restarts


def test_the_gate_and_every_secret_lie_there_before_the_unit_starts() -> None:
    steps = plan_init(Facts(), plan(), SETTINGS)
    start = next(i for i, step in enumerate(steps) if isinstance(step, Run) and "start" in step.words)
    written = [step.file.path for step in steps[:start] if isinstance(step, WriteFile)]
    assert {GATE, MAY_FORM, reference.path("config"), reference.path("service-key")} <= set(written)
    reload = next(i for i, step in enumerate(steps) if isinstance(step, Run) and "daemon-reload" in step.words)
    assert steps.index(next(s for s in steps if isinstance(s, WriteFile) and s.file.path == GATE)) < reload < start


def test_a_node_of_an_older_epoch_is_not_started_while_it_is_restored() -> None:
    steps = plan_restore(Facts(marked(Role.MEMBER), etcd=True, active=True), "/s", plan(epoch=2), SETTINGS)
    said = [step.describe() for step in steps]
    reset = next(i for i, text in enumerate(said) if "cluster-reset" in text)
    assert said.index("run systemctl disable k3s.service") < said.index("run systemctl stop k3s.service") < reset


def test_rotate_is_for_members_with_their_etcd() -> None:
    with pytest.raises(Rejected, match="no member of a cluster"):
        plan_rotate(Facts(), SETTINGS)
    with pytest.raises(Rejected, match="cannot rotate: etcd is gone"):
        plan_rotate(Facts(marked(Role.MEMBER)), SETTINGS)


def test_no_description_tells_a_secret() -> None:
    marker = marked(Role.RESTORING)
    for steps in (
        plan_init(Facts(), plan(), SETTINGS),
        plan_restore(Facts(msgspec.structs.replace(marker, epoch=2, begun=2)), "/s", plan(epoch=2), SETTINGS),
    ):
        text = "\n".join(step.describe() + repr(step) for step in steps)
        assert secrets().token not in text and "PRIVATE KEY" not in text and "BEGIN" not in text


async def test_a_second_root_half_waits_while_the_first_is_at_work(world: World) -> None:
    """The asker may be restarted while what it asked for goes on."""
    first, second = world.k3s(), world.k3s()
    async with first._alone():
        for asked in (second.init(plan()), second.join(plan(servers=SERVER)), second.remove("nuc-2"), second.reset()):
            with pytest.raises(Retryable, match="another operation is under way"):
                await asked
        assert world.events == [] and not world.active
    await second.init(plan())
    assert world.events == ["new-cluster"]
