"""The ballot box on disk: made before keys, on disk before an answer, put aside when corrupt, killed at every write."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.contracts.election import Ballot, InitGrant, Prepare, Verdict
from agents.contracts.identity import Election
from agents.core.errors import Rejected, Retryable
from agents.io import state as state_module
from edge_commander.election.acceptor import BORN, Init
from edge_commander.election.box import BallotBox
from edge_commander.election.electorate import canonical, digest
from tests.fakes.election_lan import NODES, SITE, Killed, Lan, me, voters

A, B, C = NODES[:3]
OFFLINE = Election.OFFLINE
ASKED = Prepare(site=SITE, epoch=1, voters=digest(canonical(voters())), ballot=Ballot(round=1, node=B))


def opened(folder: Path, **more: Any) -> BallotBox:
    return BallotBox(folder, **{"had_keys": True, **more})


def test_a_new_box_is_born_and_stays_so(tmp_path: Path) -> None:
    assert opened(tmp_path, had_keys=False).state == BORN
    assert opened(tmp_path).state == BORN  # its keys were made since


def test_keys_without_a_box_are_barred(tmp_path: Path) -> None:
    box = opened(tmp_path, floor=3)
    assert box.adopt(3, OFFLINE, voters()).is_barred
    assert opened(tmp_path).state.is_barred
    assert not box.adopt(4, OFFLINE, voters()).is_barred


def test_a_promise_is_on_disk_when_it_is_told(tmp_path: Path) -> None:
    box = opened(tmp_path, had_keys=False)
    box.adopt(1, OFFLINE, voters())
    assert box.answer(me(A), B, ASKED).verdict is Verdict.OK
    assert opened(tmp_path).state.promised == ASKED.ballot


def test_a_disk_that_refuses_gives_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = opened(tmp_path, had_keys=False)
    box.adopt(1, OFFLINE, voters())
    before = box.state

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state_module, "write_durably", full)
    with pytest.raises(Retryable, match="No space left"):
        box.answer(me(A), B, ASKED)
    assert box.state == before


@pytest.mark.parametrize("spoil", [b"", b"{}", b"\0" * 400])
def test_a_corrupt_box_is_put_aside_and_never_votes_in_that_epoch(tmp_path: Path, spoil: bytes) -> None:
    box = opened(tmp_path, had_keys=False)
    box.adopt(1, OFFLINE, voters())
    box.answer(me(A), B, ASKED)
    box.path.write_bytes(spoil)
    again = opened(tmp_path, floor=1)
    assert [path.name for path in again.damaged()] == ["election.json.corrupt-1"]
    again.adopt(1, OFFLINE, voters())
    assert again.answer(me(A), B, ASKED).verdict is Verdict.MUTE
    assert opened(tmp_path, floor=1).answer(me(A), B, ASKED).verdict is Verdict.MUTE


def test_killed_between_putting_aside_and_the_new_state_it_still_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path, had_keys=False).path.write_bytes(b"{")
    with monkeypatch.context() as patch:
        patch.setattr(state_module, "write_durably", killer(lambda: True, after=False))
        with pytest.raises(Killed):
            opened(tmp_path, had_keys=False)
    again = opened(tmp_path, had_keys=False)
    assert again.adopt(1, OFFLINE, voters()).is_barred


def test_init_is_begun_and_ended_once_and_by_the_right_one(tmp_path: Path) -> None:
    box = opened(tmp_path, had_keys=False)
    box.adopt(1, Election.CLOUD, [])
    with pytest.raises(Rejected, match="may not initialise"):
        box.begin_init(me(A), 1)
    with pytest.raises(Rejected, match="no cluster was begun"):
        box.end_init(1)
    box.granted(me(A), InitGrant(site=SITE, epoch=1, node=A, yours=True))
    box.begin_init(me(A), 1)
    box.begin_init(me(A), 1)  # after a crash
    assert opened(tmp_path).state.init is Init.STARTED
    box.end_init(1)
    for refused in (lambda: box.begin_init(me(A), 1), lambda: box.begin_init(me(A), 2), lambda: box.end_init(2)):
        with pytest.raises(Rejected):
            refused()
    box.begin_init(me(A), 1, resumes=True)  # cut between here and the caller's own record
    assert opened(tmp_path).state.init is Init.DONE
    box.wiped()
    with pytest.raises(Rejected, match="may not initialise"):
        box.begin_init(me(A), 1, resumes=True)


def test_changes_from_two_threads_are_both_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint's word and a wipe come from threads, siblings' questions from the loop: no vote may be lost."""
    box = opened(tmp_path, had_keys=False)
    box.adopt(1, OFFLINE, voters())
    writing, came, write = threading.Event(), threading.Event(), state_module.write_durably

    def slow(path: Path, data: bytes, *args: Any) -> None:
        first = not writing.is_set()
        writing.set()
        if first:
            came.wait(5)
            other.join(0.2)  # the other comes while this one's state is on its way to the disk
        write(path, data, *args)

    monkeypatch.setattr(state_module, "write_durably", slow)
    one, other = threading.Thread(target=box.wiped), threading.Thread(target=lambda: box.answer(me(A), B, ASKED))
    one.start()
    assert writing.wait(5)
    other.start()
    came.set()
    one.join(5)
    other.join(5)
    assert box.state.wiped and box.state.promised == ASKED.ballot
    assert opened(tmp_path).state == box.state


def test_a_wiped_box_and_one_past_its_epoch_may_not_begin(tmp_path: Path) -> None:
    box = opened(tmp_path, had_keys=False)
    box.adopt(1, OFFLINE, voters())
    box.learn(1, A)
    box.learn(1, B)
    assert box.state.decided == A  # the first word stands
    box.wiped()
    with pytest.raises(Rejected):
        box.begin_init(me(A), 1)
    box.adopt(2, OFFLINE, voters())
    box.learn(1, A)
    assert box.state.decided is None
    with pytest.raises(Rejected):
        box.begin_init(me(A), 2)


def killer(now: Callable[[], bool], *, after: bool) -> Callable[..., None]:
    """A write that is the process's last where `now` says so: before it is on disk, or after."""
    really = state_module.write_durably

    def write(path: Path, data: bytes, mode: int = 0o600) -> None:
        dies = now()
        if dies and not after:
            raise Killed
        really(path, data, mode)
        if dies:
            raise Killed

    return write


async def election(folder: Path) -> list[str]:
    """Three boxes elect, the one that was killed comes back, and all the way to a cluster; who began one."""
    lan, began = Lan(folder), []
    for node in (A, B, C):
        try:
            lan.start(node)
        except Killed:
            lan.start(node)
    for _ in range(3):
        await lan.run(*lan.electors)
        for node in (A, B, C):
            if node not in lan.electors:
                lan.start(node)
    assert {box.state.decided for box in lan.boxes.values()} in ({A}, {B}, {C})
    for node in (A, B, C):
        for _ in range(2):
            box = lan.boxes[node]
            try:
                box.begin_init(me(node), 1)
                began.append(node)
                box.end_init(1)
            except Killed:
                lan.start(node)
            except Rejected:
                break
    return began


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
async def test_killed_at_every_write_there_is_one_initialiser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    points = 0
    while True:
        left = [points]

        def now(left: list[int] = left) -> bool:
            left[0] -= 1
            return left[0] == -1

        folder = tmp_path / str(points)
        folder.mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(state_module, "write_durably", killer(now, after=after))
            began = await election(folder)
        assert len(set(began)) == 1, f"write {points}: {began}"
        if left[0] >= 0:
            break
        points += 1
    assert points >= 10
