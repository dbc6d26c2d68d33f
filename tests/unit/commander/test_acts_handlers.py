"""Snapshot, reboot, rotate and upgrade against fakes of what they touch, with a power cut at each durable step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from commander_fakes import FakeClock

from agents.contracts.command import Verb
from agents.core.errors import Rejected, Retryable
from edge_commander.acts.away import Seen
from edge_commander.acts.beside import Beside
from edge_commander.acts.reboot import Means, Reboots
from edge_commander.acts.reboot_rules import AGAIN_SECONDS, TRIES, Last
from edge_commander.acts.rotate import LONGEST_SECONDS, Rotates
from edge_commander.acts.snapshot import TakesSnapshots
from edge_commander.acts.store import Act, ActFile, Acts
from edge_commander.acts.upgrade import Upgrades
from edge_commander.distribution.port import ClusterMember, Snapshot
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.rotation.plan import Life
from edge_commander.verbs import Outcome
from tests.fakes.acts_world import DiskStore, command

ME = "nuc-1"
TOLD = command(Verb.REBOOT)


class Cut(BaseException):
    """The power is gone."""


class Host:
    """A machine that can be told to reboot, and the cluster that is asked before. `cut_at`: where the power fails;
    `mute`: after a boot the cluster does not answer any more."""

    def __init__(self) -> None:
        self.clock, self.store = FakeClock(), DiskStore()
        self.store.world = self  # type: ignore[assignment]
        self.boot, self.boots, self.told, self.deaf = "boot-1", 1, 0, False
        self.members = [ClusterMember(f"nuc-{i}", True, True) for i in (1, 2, 3)]
        self.api, self.faster, self.mute = True, False, False
        self.error: Exception | None = None
        self.last = Last()
        self.points, self.cut_at = 0, -1
        self.start()

    def start(self) -> None:
        self.handler = Reboots(
            Means(
                store=self.store, me=lambda: ME, cluster=self, boot=lambda: self.boot, machine=self.machine,
                now_ms=self.clock.wall_ms, clock=self.clock,
            )
        )  # fmt: skip

    def point(self) -> None:
        self.points += 1
        if self.points == self.cut_at:
            raise Cut

    async def see(self, me: str) -> Seen:
        if not self.api:
            raise Retryable("the API server does not answer")
        return Seen(self.members)

    async def last_reboot(self) -> Last:
        return self.last

    async def reboots(self, me: str, command: str, boot: str) -> bool:
        self.point()
        if self.faster:
            return False
        self.last = Last(me, self.clock.wall_ms(), command, boot)
        self.point()
        return True

    async def machine(self) -> None:
        self.point()
        if self.error is not None:
            raise self.error
        self.told += 1
        if not self.deaf:
            raise Cut

    async def until_answered(self, told: str = "") -> Outcome | None:
        for _ in range(40):
            try:
                if (found := await self.handler.execute(TOLD)) is not None:
                    return found
                self.clock.now += 30.0
            except Cut:  # it boots
                self.api = self.api and not self.mute
                self.boots += 1
                self.boot = f"boot-{self.boots}"
                self.clock.now += 60.0
                self.start()
        return None


async def test_a_reboot_is_answered_after_the_boot() -> None:
    host = Host()
    with pytest.raises(Cut):
        await host.handler.execute(TOLD)
    assert host.told == 1 and host.last.node == ME and host.store.acts.rebooted == host.clock.wall_ms()
    host.boot = "boot-2"
    host.start()
    assert await host.handler.execute(TOLD) == Outcome("done", "the node was booted anew")
    assert host.told == 1


POINTS = 7


async def test_the_points_of_a_reboot_are_what_is_walked() -> None:
    host = Host()
    await host.until_answered()
    assert host.points == POINTS


@pytest.mark.parametrize("point", range(1, POINTS + 1))
async def test_a_power_cut_at_any_point_ends_in_one_answer_and_at_most_one_reboot_by_us(point: int) -> None:
    host = Host()
    host.cut_at = point
    assert await host.until_answered() == Outcome("done", "the node was booted anew")
    assert host.told <= 1 and (host.last.command == TOLD.id or not host.told)


@pytest.mark.parametrize("mute", [False, True])
@pytest.mark.parametrize("point", range(2, POINTS + 1))
async def test_once_it_is_noted_anywhere_the_node_boots_once(point: int, mute: bool) -> None:
    """Whatever boots it, power or command. Only a cut before the first note, of which nobody knows, is one more."""
    host = Host()
    host.cut_at, host.mute = point, mute
    assert await host.until_answered() == Outcome("done", "the node was booted anew")
    assert (host.boots, host.told) == (2, int(host.cut_at > host.points))


@pytest.mark.parametrize("point", range(1, POINTS + 1))
async def test_a_commander_that_is_killed_at_any_point_tells_the_same_boot(point: int) -> None:
    host = Host()
    host.cut_at = point
    with pytest.raises(Cut):
        while True:
            await host.handler.execute(TOLD)
    host.start()  # the same boot
    assert await host.until_answered() == Outcome("done", "the node was booted anew")
    assert host.told == 1 and host.last.command == TOLD.id and host.store.acts.rebooted


async def test_one_that_was_not_noted_in_the_cluster_is_judged_again_and_leaves_no_note() -> None:
    host = Host()
    host.cut_at = 2
    with pytest.raises(Cut):
        await host.handler.execute(TOLD)
    assert host.store.of(TOLD.id) is not None and host.last == Last()
    host.start()
    host.members[1] = ClusterMember("nuc-2", False, True)
    answer = await host.handler.execute(TOLD)
    assert answer is not None and answer.result == "refused" and host.store.acts == Acts()


async def test_another_command_within_the_hour_is_refused_on_every_node() -> None:
    host = Host()
    await host.until_answered()
    other = Host()
    other.last = host.last
    host.clock.now += 60.0
    for one in (host, other):
        answer = await one.handler.execute(command(Verb.REBOOT, 2))
        assert answer is not None and answer.result == "refused" and "one reboot an hour" in answer.detail
    host.api = False  # its own record says the same
    answer = await host.handler.execute(command(Verb.REBOOT, 2))
    assert answer is not None and answer.result == "refused"
    host.clock.now += 3600.0
    with pytest.raises(Cut):
        await host.handler.execute(command(Verb.REBOOT, 3))


async def test_of_two_nodes_that_are_told_at_once_one_is_faster() -> None:
    host = Host()
    host.faster = True
    answer = await host.handler.execute(TOLD)
    assert answer is not None and (answer.result, host.told) == ("refused", 0)
    assert host.store.acts == Acts()


async def test_a_node_whose_cluster_does_not_answer_may_be_rebooted() -> None:
    host = Host()
    host.api = False
    answer = await host.until_answered()
    assert answer is not None and answer.result == "done" and host.last == Last()


async def test_the_quorum_is_not_rebooted_away() -> None:
    host = Host()
    host.members[1] = ClusterMember("nuc-2", False, True)
    answer = await host.handler.execute(TOLD)
    assert answer is not None and answer.result == "refused" and "nuc-2 is not Ready" in answer.detail


async def test_a_machine_that_does_not_reboot_is_told_again_and_then_given_up() -> None:
    host = Host()
    host.deaf = True
    began = host.clock.now
    answer = await host.until_answered()
    assert answer == Outcome("failed", f"the machine was told {TRIES} times to reboot, and did not")
    assert host.told == TRIES and host.clock.now - began >= TRIES * AGAIN_SECONDS


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Rejected("not allowed"), "the machine does not reboot: not allowed"),
        (Retryable("nobody answers"), "the machine could not be told to reboot: nobody answers"),
    ],
)
async def test_a_machine_half_that_cannot_is_named(error: Exception, text: str) -> None:
    host = Host()
    host.error = error
    assert await host.until_answered() == Outcome("failed", text)


def test_the_record_on_ident_is_read_back_and_a_damaged_one_is_put_aside(tmp_path: Path) -> None:
    ActFile(tmp_path).save(Acts(act=Act(id="a" * 32, boot="b", mark=3, tries=1), rebooted=5))
    found = ActFile(tmp_path)
    assert found.of("a" * 32) == Act(id="a" * 32, boot="b", mark=3, tries=1)
    assert found.of("b" * 32) is None and found.acts.rebooted == 5
    (tmp_path / "acts.json").write_text("{")
    assert ActFile(tmp_path).acts == Acts()
    assert list(tmp_path.glob("acts.json.corrupt-*"))


class Snapshots:
    """A distribution that takes snapshots; `tail`: what it adds to the name. `lost`: none is whole."""

    def __init__(self, tail: str = "") -> None:
        self.tail, self.found, self.error = tail, list[Snapshot](), None
        self.hold: asyncio.Event | None = None

    async def snapshot(self, name: str) -> str:
        if self.hold is not None:
            await self.hold.wait()
        path = f"/keep/{name}{self.tail}"
        self.found.append(Snapshot(path, "store-1", 2, 100, revision=77, bytes=4096))
        return path

    async def snapshots(self) -> Sequence[Snapshot]:
        return self.found


@pytest.mark.parametrize("tail", ["", "-nuc-1-1800000000"])
async def test_a_snapshot_is_named_after_the_command_and_taken_once(tail: str) -> None:
    told, kept = command(Verb.SNAPSHOT), Snapshots(tail)
    for _ in range(2):
        takes = TakesSnapshots(kept, Beside(), lambda: "")  # type: ignore[arg-type]
        answer = await takes.execute(told)
        assert answer == Outcome("done", f"/keep/command-{told.id}{tail}: 4096 bytes, revision 77, epoch 2")
    assert len(kept.found) == 1


async def test_a_snapshot_that_takes_long_is_asked_for_again_and_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_commander.acts.beside.SOON_SECONDS", 0.0)
    kept = Snapshots()
    kept.hold = asyncio.Event()
    takes = TakesSnapshots(kept, Beside(), lambda: "")  # type: ignore[arg-type]
    told = command(Verb.SNAPSHOT)
    assert await takes.execute(told) is None and await takes.execute(told) is None
    kept.hold.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answer = await takes.execute(told)
    assert answer is not None and answer.result == "done" and len(kept.found) == 1


async def test_a_worker_takes_no_snapshot() -> None:
    kept = Snapshots()
    takes = TakesSnapshots(kept, Beside(), lambda: "this node is a worker")  # type: ignore[arg-type]
    assert await takes.execute(command(Verb.SNAPSHOT)) == Outcome(
        "refused", "no snapshot can be taken here: this node is a worker"
    )
    assert not kept.found


class Renewing:
    """A rotor that renews when it is wanted, `after` so many looks."""

    def __init__(self, after: int = 2) -> None:
        self.why_no_server = ""
        self.life: Life | None = Life(1000, 1_800_000_000_000)
        self.wanted: int | None = None
        self.after, self.leaves, self.reason = after, 0, NOTHING

    async def certificates(self) -> Life | None:
        if self.wanted is not None:
            self.after -= 1
            if self.after == 0 and self.life is not None:
                self.life = Life(2000, self.life.end)
        return self.life

    def renew(self, begin: int | None) -> Reason:
        self.wanted = begin
        return self.reason

    def renew_leaf(self) -> None:
        self.leaves += 1


async def test_certificates_are_new_once_they_began_at_another_time() -> None:
    renewing, store, clock = Renewing(), DiskStore(), FakeClock()
    told = command(Verb.ROTATE)
    rotates = Rotates(renewing, store, clock)
    assert await rotates.execute(told) is None and renewing.wanted == 1000
    assert store.of(told.id) == Act(id=told.id, mark=1000)
    rotates = Rotates(renewing, store, clock)  # a crash: it is wanted again, of the same ones
    assert await rotates.execute(told) is None and renewing.wanted == 1000
    answer = await rotates.execute(told)
    assert answer == Outcome("done", "this node's certificates are new, and end on 2027-01-15T08:00:00+00:00")
    assert renewing.wanted is None and renewing.leaves == 1


async def test_a_renewal_that_never_has_its_turn_is_answered_with_what_it_waits_for() -> None:
    renewing, clock = Renewing(after=-1), FakeClock()
    renewing.reason = Reason(Why.TURN, "rotation: nuc-2 is not Ready")
    rotates = Rotates(renewing, DiskStore(), clock)
    assert await rotates.execute(command(Verb.ROTATE)) is None
    clock.now += LONGEST_SECONDS
    answer = await rotates.execute(command(Verb.ROTATE))
    assert answer is not None and answer.result == "failed" and answer.detail.endswith("nuc-2 is not Ready")
    assert renewing.wanted is None


async def test_what_has_no_certificates_renews_none() -> None:
    renewing = Renewing()
    renewing.why_no_server = "this node is a worker"
    answer = await Rotates(renewing, DiskStore(), FakeClock()).execute(command(Verb.ROTATE))
    assert answer == Outcome("refused", "nothing is renewed here: this node is a worker")


async def test_a_machine_without_a_second_root_says_so_and_names_the_other_upgrade(tmp_path: Path) -> None:
    answer = await Upgrades(second_root=tmp_path / "root-b").execute(command(Verb.UPGRADE))
    assert answer is not None and answer.result == "refused"
    assert "no second root (no partition root-b)" in answer.detail and "galley site upgrade" in answer.detail
    (tmp_path / "root-b").touch()
    answer = await Upgrades(second_root=tmp_path / "root-b").execute(command(Verb.UPGRADE))
    assert answer is not None and answer.result == "refused" and "nothing on this node writes images" in answer.detail
