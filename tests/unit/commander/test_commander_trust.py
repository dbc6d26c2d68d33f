"""What a node takes of its endpoint's trust documents, keeps over restarts and cuts, and tells of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from commander_fakes import FakeOutbox

from agents.contracts.signed import SignedDocument
from agents.contracts.trust import OperatorKey, Roster
from agents.core.errors import Rejected, Retryable
from agents.core.jose import SoftwareKey, thumbprint
from agents.core.operators import plain_operators
from agents.core.trust import TrustPolicy, sign_roster
from agents.io import state
from edge_commander.operators import read_operators, read_roster_keys
from edge_commander.trust.keeper import TRUST_NAME, NodeTrust
from edge_commander.trust.record import Basis
from tests.fakes.trust_kit import (
    ALICE,
    BOB,
    BOXES,
    ENDPOINT,
    MALLORY,
    NOW,
    OTHER_ENDPOINT,
    authorisation,
    chained,
    operators,
    operators_document,
    raw_entry,
    roster,
    site_document,
    with_member,
)

ONE, TWO, THREE = BOXES
NEW = SoftwareKey.generate()
BOTH = [OperatorKey(name="alice", key=ALICE.public), OperatorKey(name="bob", key=BOB.public)]


class PowerCut(BaseException):
    """Nothing after it happens."""


class Bench:
    """A node's trust on one disk; `restart` is a new process, perhaps with another configuration."""

    def __init__(self, directory: Path, basis: Basis | None = None) -> None:
        self.directory, self.outbox = directory, FakeOutbox()
        self.basis = basis or Basis(TrustPolicy.OPERATORS, operators())
        self.restart()

    def restart(self, basis: Basis | None = None) -> None:
        self.basis = basis or self.basis
        self.trust = NodeTrust(self.directory, self.basis, self.outbox, structlog.get_logger())

    async def take(self, signed: SignedDocument | Roster | None, **changed: Any) -> None:
        await self.trust.take(site_document(signed, **changed), ONE.own(), NOW)

    @property
    def standing(self) -> int:
        return self.trust.roster.roster.generation if self.trust.roster else 0

    @property
    def alerts(self) -> list[tuple[str, str]]:
        return [(one.code, one.text.partition(":")[0]) for one in self.outbox.bodies]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_good_roster_is_taken_kept_and_says_who_may_speak(bench: Bench) -> None:
    assert not bench.trust.allowed(TWO.node, TWO.signing.public)
    await bench.take(roster())
    for _ in range(2):
        assert bench.standing == 5 and bench.alerts == []
        assert bench.trust.allowed(TWO.node, TWO.signing.public)
        assert not bench.trust.allowed(TWO.node, THREE.signing.public)
        bench.restart()


async def test_the_same_roster_signed_again_is_no_write(bench: Bench) -> None:
    await bench.take(roster())
    before = (bench.directory / TRUST_NAME).stat().st_mtime_ns
    await bench.take(roster())
    assert (bench.directory / TRUST_NAME).stat().st_mtime_ns == before


def anew(generation: int, index: int, **changed: Any) -> Roster:
    return with_member(roster(generation), index, **changed)


STOLEN: dict[str, tuple[str, Callable[[], SignedDocument | Roster]]] = {
    "changes one key": ("keys-changed", lambda: anew(6, 1, signing=NEW.public)),
    "changes this node's key": ("own-keys", lambda: anew(6, 0, signing=NEW.public)),
    "adds a machine": ("entry-missing", lambda: roster(6, [*roster().members, _stranger()])),
    "signs an entry itself": ("entry-signature", lambda: anew(6, 1, entry=raw_entry(TWO.entry(), ENDPOINT))),
    "rolls back": ("generation", lambda: roster(4)),
    "tells others otherwise": ("generation-reused", lambda: roster(5, [ONE.member()])),
    "begins an epoch": ("epoch-authorisation", lambda: roster(6, epoch=2)),
    "signs with another key": ("signature", lambda: sign_roster(roster(6), OTHER_ENDPOINT)),
}


def _stranger() -> Any:
    from tests.fakes.trust_kit import STRANGER

    return msgspec.structs.replace(STRANGER.member(), entry=None)


@pytest.mark.parametrize("case", STOLEN)
async def test_what_a_stolen_endpoint_says_is_refused_told_once_and_changes_nothing(bench: Bench, case: str) -> None:
    await bench.take(roster())
    digest = bench.trust.roster and bench.trust.roster.digest
    code, bad = STOLEN[case]
    for _ in range(3):
        await bench.take(bad(), roster_keys=[OTHER_ENDPOINT.public, ENDPOINT.public])
        assert bench.alerts == [("roster-refused", code)]
        assert bench.trust.roster is not None and bench.trust.roster.digest == digest
        assert bench.trust.view().refused.startswith(f"{code}: ")
        bench.restart()
    await bench.take(roster(7))
    assert bench.standing == 7 and bench.trust.view().refused == ""
    await bench.take(roster(4))
    assert bench.alerts == [("roster-refused", code), ("roster-refused", "generation")], "after a good one it is news"


async def test_alerts_are_bounded_by_the_codes_whatever_is_sent(bench: Bench) -> None:
    await bench.take(roster())
    for number in range(50):
        await bench.take(roster(4, [ONE.member(address=f"198.51.100.{number}")]))
        await bench.take(anew(6, 1, signing=SoftwareKey.generate().public))
    assert sorted(bench.alerts) == [("roster-refused", "generation"), ("roster-refused", "keys-changed")]


async def test_an_alert_that_could_not_be_stored_is_stored_later(bench: Bench) -> None:
    await bench.take(roster())

    def full() -> None:
        raise Retryable("disk full")

    bench.outbox.before_put = full
    with pytest.raises(Retryable):
        await bench.take(roster(4))
    bench.outbox.before_put = lambda: None
    await bench.trust.report()
    assert bench.alerts == [("roster-refused", "generation")]


async def test_a_revoked_device_is_refused_by_its_siblings(bench: Bench) -> None:
    await bench.take(roster())
    await bench.take(roster(6, [ONE.member(), THREE.member()]))
    assert not bench.trust.allowed(TWO.node, TWO.signing.public) and bench.trust.allowed(
        THREE.node, THREE.signing.public
    )


async def test_an_old_endpoint_signs_nothing_and_nothing_is_amiss(bench: Bench) -> None:
    await bench.take(None, roster_keys=[])
    assert (bench.trust.roster, bench.alerts, bench.trust.view().roster) == (None, [], 0)


async def test_roster_keys_are_learnt_once_pinned_by_the_file_and_changed_by_operators(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.take(roster())
    other = sign_roster(roster(6), OTHER_ENDPOINT)
    await bench.take(other, roster_keys=[OTHER_ENDPOINT.public])
    assert bench.standing == 5
    endorsed = chained(operators_document(2, roster_keys=[OTHER_ENDPOINT.public]))
    await bench.take(other, roster_keys=[OTHER_ENDPOINT.public], operators=[endorsed])
    assert bench.standing == 6
    await bench.take(roster(7))
    assert (bench.standing, bench.alerts[-1]) == (6, ("roster-refused", "signature")), "the stolen key is worth nothing"
    pinned = Basis(TrustPolicy.OPERATORS, operators(), {thumbprint(ENDPOINT.public): ENDPOINT.public})
    fresh = Bench(tmp_path / "fresh", pinned)
    fresh.directory.mkdir()
    await fresh.take(other, roster_keys=[OTHER_ENDPOINT.public])
    assert fresh.standing == 0
    await fresh.take(roster())
    assert fresh.standing == 5


async def test_a_thief_who_used_up_all_generations_is_outlived_by_a_key_that_operators_name(bench: Bench) -> None:
    await bench.take(roster())
    await bench.take(roster(2**53 - 1))
    assert bench.standing == 2**53 - 1
    fresh = sign_roster(roster(6), OTHER_ENDPOINT)
    await bench.take(fresh, operators=[chained(operators_document(2, roster_keys=[ENDPOINT.public]))])
    assert bench.standing == 2**53 - 1, "the same key goes on counting"
    endorsed = chained(operators_document(3, roster_keys=[OTHER_ENDPOINT.public]))
    await bench.take(fresh, operators=[endorsed])
    for _ in range(2):
        assert bench.standing == 6 and bench.trust.allowed(TWO.node, TWO.signing.public)
        bench.restart()
    changed = sign_roster(anew(7, 1, signing=NEW.public), OTHER_ENDPOINT)
    await bench.take(changed)
    assert (bench.standing, bench.alerts[-1]) == (6, ("roster-refused", "keys-changed")), "members are remembered"
    await bench.take(sign_roster(roster(5), OTHER_ENDPOINT))
    assert bench.standing == 6


async def test_operators_change_in_order_and_commands_follow(bench: Bench) -> None:
    second = chained(operators_document(2, keys=BOTH))
    third = chained(operators_document(3, keys=BOTH[1:]), ALICE)
    assert list(bench.trust.operator_keys()) == [thumbprint(ALICE.public)]
    assert bench.trust.threshold == 1
    await bench.take(None, operators=[second, third])
    for _ in range(2):
        assert bench.trust.operators_generation == 3
        assert list(bench.trust.operator_keys()) == [thumbprint(BOB.public)]
        bench.restart()
    await bench.take(None, operators=[second])
    assert bench.trust.operators_generation == 3 and bench.alerts == []


async def test_the_threshold_is_the_documents_and_a_retired_key_signs_no_command(bench: Bench) -> None:
    second = chained(operators_document(2, keys=BOTH, threshold=2))
    three = (*BOTH, OperatorKey(name="mallory", key=MALLORY.public, retired=1))
    third = chained(operators_document(3, keys=three, threshold=2), ALICE, BOB)
    await bench.take(None, operators=[second, third])
    for _ in range(2):
        assert (bench.trust.operators_generation, bench.trust.threshold) == (3, 2)
        assert set(bench.trust.operator_keys()) == {thumbprint(ALICE.public), thumbprint(BOB.public)}
        bench.restart()


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (chained(operators_document(2, keys=BOTH), MALLORY), "operators-signature"),
        (chained(operators_document(3, keys=BOTH)), "operators-generation"),
    ],
)
async def test_a_document_of_unknown_keys_is_refused_and_told_once(
    bench: Bench, document: SignedDocument, code: str
) -> None:
    for _ in range(2):
        await bench.take(roster(), operators=[document])
        assert bench.alerts == [("operators-refused", code)]
        assert (bench.trust.operators_generation, bench.standing) == (1, 5), "what is good of the answer is taken"
        bench.restart()


async def test_the_first_document_never_comes_from_the_endpoint(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Basis(TrustPolicy.ENDPOINT))
    await bench.take(roster(), operators=[chained(operators_document())])
    assert (bench.trust.operator_keys(), bench.trust.view().operators, bench.standing) == ({}, -1, 5)


async def test_entries_of_a_removed_operator_count_no_longer_and_the_roster_that_stood_on_them_falls(
    bench: Bench,
) -> None:
    await bench.take(roster())
    second = chained(operators_document(2, keys=BOTH[1:]), ALICE)
    await bench.take(None, operators=[second])
    assert (bench.standing, bench.alerts) == (0, [("roster-refused", "entry-signature")])
    bench.restart()
    assert bench.standing == 0 and bench.trust.view().refused.startswith("entry-signature")
    by_bob = [box.member(raw_entry(box.entry(sequence=11), BOB)) for box in BOXES]
    await bench.take(roster(6, by_bob))
    assert bench.standing == 6


async def test_another_first_document_takes_the_chain_with_it(bench: Bench) -> None:
    await bench.take(roster(), operators=[chained(operators_document(2, keys=BOTH))])
    bench.restart(Basis(TrustPolicy.OPERATORS, operators(keys=[OperatorKey(name="mallory", key=MALLORY.public)])))
    await bench.trust.report()
    assert (bench.trust.operators_generation, bench.standing) == (1, 0)
    assert bench.alerts == [("operators-refused", "operators-signature"), ("roster-refused", "entry-signature")]


async def test_a_newer_first_document_stands_for_the_chain_before_it(bench: Bench) -> None:
    await bench.take(roster(), operators=[chained(operators_document(2, keys=BOTH))])
    bench.restart(Basis(TrustPolicy.OPERATORS, operators(generation=2, keys=BOTH)))
    assert (bench.trust.operators_generation, bench.standing, bench.alerts) == (2, 5, [])


async def test_memory_of_members_outlives_a_policy_that_did_not_ask_for_entries(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.take(roster())
    bench.restart(Basis(TrustPolicy.ENDPOINT, operators()))
    plain = [msgspec.structs.replace(box.member(), entry=None) for box in BOXES]
    await bench.take(roster(6, plain))
    assert bench.standing == 6
    bench.restart(Basis(TrustPolicy.OPERATORS, operators()))
    assert bench.standing == 0, "the policy asks for entries now"
    await bench.take(anew(7, 1, signing=NEW.public))
    assert bench.standing == 0
    await bench.take(roster(8))
    assert bench.standing == 8


async def test_an_authorised_epoch_is_taken_and_never_goes_back(bench: Bench) -> None:
    await bench.take(roster())
    await bench.take(roster(6, epoch=2, authorisation=authorisation()))
    assert bench.trust.view().epoch == 2
    await bench.take(roster(7))
    assert (bench.standing, bench.alerts) == (6, [("roster-refused", "epoch")])


@pytest.mark.parametrize("cut", range(12))
async def test_wherever_the_power_fails_the_old_or_the_new_stands_and_the_next_look_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """Every call that touches the disk, and the one that fills the outbox, is a place to stop at."""
    bench = Bench(tmp_path)
    await bench.take(roster())
    step = 0

    def touch() -> None:
        nonlocal step
        step += 1
        if step > cut:
            raise PowerCut

    for module, name in ((state.os, "write"), (state.os, "fsync"), (state.Path, "replace"), (state, "sync_directory")):
        original = getattr(module, name)

        def guarded(*args: Any, _original: Any = original, **more: Any) -> Any:
            touch()
            return _original(*args, **more)

        monkeypatch.setattr(module, name, guarded)
    bench.outbox.before_put = touch
    second = chained(operators_document(2, keys=BOTH))
    answer = {"operators": [second, chained(operators_document(3), MALLORY)]}
    died = False
    try:
        await bench.take(roster(6), **answer)
    except PowerCut:
        died = True
    monkeypatch.undo()
    bench.outbox.before_put = lambda: None
    bench.restart()
    state_now = (bench.trust.operators_generation, bench.standing)
    assert state_now in ((1, 5), (2, 6)) and (died or state_now == (2, 6))
    await bench.take(roster(6), **answer)
    assert (bench.trust.operators_generation, bench.standing) == (2, 6)
    assert set(bench.alerts) == {("operators-refused", "operators-signature")}
    assert 1 <= len(bench.alerts) <= 2, "a cut between outbox and disk may tell it twice, never not"
    assert not list(bench.directory.glob("*.corrupt-*"))


async def test_a_disk_that_is_full_leaves_what_stood(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.take(roster())

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state.os, "write", full)
    with pytest.raises(Retryable, match="No space"):
        await bench.take(roster(6))
    monkeypatch.undo()
    assert bench.standing == 5
    await bench.take(roster(6))
    assert bench.standing == 6


def test_the_first_document_is_read_in_both_forms(tmp_path: Path) -> None:
    file = tmp_path / "operators.json"
    file.write_bytes(msgspec.json.encode({"v": 1, "operators": [ALICE.public]}))
    assert read_operators(file) == plain_operators([ALICE.public])
    file.write_bytes(msgspec.json.encode(chained(operators_document(4, keys=BOTH))))
    found = read_operators(file)
    assert found is not None and (found.generation, len(found.keys)) == (4, 2)
    for bad in ('{"payload": "x"}', '{"payload": "e30", "signatures": [{"protected": "", "signature": ""}]}', "[]"):
        file.write_text(bad)
        with pytest.raises(Rejected, match=r"operators\.json: is not an operators document"):
            read_operators(file)


def test_pinned_roster_keys_are_one_or_several_public_keys(tmp_path: Path) -> None:
    file = tmp_path / "roster.json"
    assert read_roster_keys(None) == {}
    for good in (ENDPOINT.public, [ENDPOINT.public]):
        file.write_text(json.dumps(good))
        assert list(read_roster_keys(file)) == [thumbprint(ENDPOINT.public)]
    for bad in (ALICE.public, ENDPOINT.private(), [1]):
        file.write_text(json.dumps(bad))
        with pytest.raises(Rejected, match=r"roster\.json") as error:
            read_roster_keys(file)
        assert ENDPOINT.private()["d"] not in str(error.value)
