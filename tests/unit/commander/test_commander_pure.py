"""Decisions without a world: time, enrolment answers, who may ask, the look at the cluster, the ledger."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.contracts.command import Command, Verb
from agents.contracts.identity import EnrolAnswer, EnrolStatus, Member, Role, SiteDocument
from edge_commander import ledger as ledgers
from edge_commander.access import ALLOWED, CONSOLE, Route, caller
from edge_commander.distribution.existing import member
from edge_commander.distribution.port import ClusterMember
from edge_commander.enrolment import judge
from edge_commander.forming import Observation, look, own_name
from edge_commander.ledger import Ledger
from edge_commander.reasons import NOTHING, Why
from edge_commander.renewal import Freshness, lease
from edge_commander.timekeeper import LEAP_MS, RECORD_MS, TOLERANCE_MS, TimeKeeper

NODE, OTHER = "n-abcdefghij234567", "n-zzzzzzzzzz234567"
YEAR = 365 * 24 * 3600 * 1000
NOW = 1_800_000_000_000


class TestTime:
    def test_without_the_endpoints_word_the_floor_holds(self) -> None:
        keeper = TimeKeeper(floor_ms=NOW)
        assert keeper.now_ms(0, 5.0) == NOW
        assert keeper.wall_problem(0, 5.0).why is Why.CLOCK
        assert keeper.now_ms(NOW + 7, 5.0) == NOW + 7
        assert keeper.wall_problem(NOW + 7, 5.0) == NOTHING

    @pytest.mark.parametrize("wall", [0, NOW - TOLERANCE_MS - 1000, NOW + TOLERANCE_MS + 1000, NOW + 10 * YEAR])
    def test_the_endpoints_time_is_used_whatever_the_wall_says(self, wall: int) -> None:
        keeper = TimeKeeper(floor_ms=NOW - YEAR).heard(NOW, 100.0)
        assert keeper.now_ms(wall, 160.0) == NOW + 60_000
        assert keeper.wall_problem(wall, 100.0).why is Why.CLOCK

    def test_a_clock_near_the_endpoints_is_good(self) -> None:
        keeper = TimeKeeper(floor_ms=0).heard(NOW, 100.0)
        assert keeper.wall_problem(NOW + 1500, 100.0) == NOTHING

    def test_time_below_the_floor_is_not_believed(self) -> None:
        keeper = TimeKeeper(floor_ms=NOW)
        assert keeper.heard(NOW - 1, 1.0) is keeper

    def test_what_is_recorded(self) -> None:
        keeper = TimeKeeper(floor_ms=NOW)
        assert keeper.to_record(NOW + YEAR, 0.0) is None  # the wall clock's word is not enough
        heard = keeper.heard(NOW + RECORD_MS, 0.0)
        assert heard.to_record(NOW, 0.0) == NOW + RECORD_MS
        assert heard.recorded(NOW + RECORD_MS).to_record(NOW, 1.0) is None  # not at every word
        assert keeper.heard(NOW + LEAP_MS + 1, 0.0).to_record(0, 0.0) is None  # an absurd one never stays

    @given(st.integers(0, 2**42), st.integers(0, 2**42), st.floats(0, 1e6))
    def test_never_below_the_floor(self, floor: int, wall: int, monotonic: float) -> None:
        assert TimeKeeper(floor_ms=floor).heard(wall, 0.0).now_ms(wall, monotonic) >= floor


class TestRenewal:
    @given(st.floats(20, 3600), st.floats(-1, 1), st.floats(0, 4000))
    def test_renewed_around_two_thirds_and_never_handed_out_late(self, life: float, spread: float, age: float) -> None:
        held = lease("secret", asked_at=50.0, lifetime=life, spread=spread)
        assert 0.6 * life <= held.renew_at - 50.0 <= 0.72 * life
        fresh = held.freshness(50.0 + age)
        if age < 0.6 * life - 5:
            assert fresh is Freshness.FRESH
        if age >= life - 5:
            assert fresh is Freshness.OVER

    def test_its_text_hides_the_value(self) -> None:
        assert "secret" not in repr(lease("secret", asked_at=0, lifetime=600, spread=0))


class TestEnrolment:
    def answer(self, status: EnrolStatus, **more: object) -> EnrolAnswer:
        return EnrolAnswer(**{"status": status, "node": NODE, "server_time": NOW, **more})

    @pytest.mark.parametrize(
        ("status", "why"),
        [
            (EnrolStatus.PENDING, Why.APPROVAL),
            (EnrolStatus.QUARANTINED, Why.QUARANTINED),
            (EnrolStatus.REFUSED, Why.REFUSED),
        ],
    )
    def test_waits_are_visible(self, status: EnrolStatus, why: Why) -> None:
        verdict = judge(self.answer(status, reason="because", retry_after=7.0, site="store-1"), NODE, None)
        assert not verdict.enrolled and verdict.site is None
        assert (verdict.reason.why, verdict.reason.detail, verdict.retry_after) == (why, "because", 7.0)

    def test_enrolled(self) -> None:
        verdict = judge(self.answer(EnrolStatus.ENROLLED, site="store-1"), NODE, None)
        assert verdict.enrolled and verdict.site == "store-1" and verdict.reason == NOTHING
        assert judge(self.answer(EnrolStatus.ENROLLED, site="store-1"), NODE, "store-1").enrolled

    def test_what_is_never_followed(self) -> None:
        assert judge(self.answer(EnrolStatus.ENROLLED), NODE, None).reason.why is Why.REFUSED  # no site
        assert judge(self.answer(EnrolStatus.ENROLLED, site="a"), OTHER, None).reason.why is Why.REFUSED
        assert judge(self.answer(EnrolStatus.ENROLLED, site="a"), NODE, "b").reason.why is Why.MOVED

    @pytest.mark.parametrize(("said", "waits"), [(0.0, 1.0), (-5.0, 1.0), (1e9, 3600.0), (12.5, 12.5)])
    def test_waits_are_bounded(self, said: float, waits: float) -> None:
        assert judge(self.answer(EnrolStatus.PENDING, retry_after=said), NODE, None).retry_after == waits


class TestAccess:
    ROLES = {770: Role.VESSEL, 771: Role.HEARTBEAT}

    def test_the_uid_is_the_role(self) -> None:
        assert caller(770, self.ROLES, own_uid=773, socket_role=None).role is Role.VESSEL
        assert caller(999, self.ROLES, own_uid=773, socket_role=None).role is None
        assert caller(773, self.ROLES, own_uid=773, socket_role=None).role is None

    def test_the_git_credential_is_vessels_alone(self) -> None:
        assert {role for role, may in ALLOWED.items() if Route.GIT_CREDENTIAL in may} == {Role.VESSEL}

    def test_root_sees_the_status_alone(self) -> None:
        root = caller(0, self.ROLES, own_uid=773, socket_role=None)
        assert [route for route in Route if root.may(route)] == [Route.STATUS]
        console = caller(CONSOLE, self.ROLES, own_uid=773, socket_role=None)
        assert [route for route in Route if console.may(route)] == [Route.STATUS]
        nobody = caller(65534, self.ROLES, own_uid=773, socket_role=None)
        assert not any(nobody.may(route) for route in Route)

    def test_a_roles_own_socket_is_its_owners(self) -> None:
        assert caller(500, self.ROLES, own_uid=500, socket_role=Role.SYNTHETIC).role is Role.SYNTHETIC
        assert caller(501, self.ROLES, own_uid=500, socket_role=Role.SYNTHETIC).role is None


class TestForming:
    HERE = ClusterMember(name="a", ready=True, server=True)

    @pytest.mark.parametrize(
        ("seen", "why"),
        [
            (Observation(api=False), Why.API),
            (Observation(api=True), Why.API),
            (Observation(api=False, rejected="no such kubeconfig"), Why.DISTRIBUTION),
            (Observation(api=True, members=[]), Why.MEMBER),
            (Observation(api=True, members=[ClusterMember(name="b", ready=True, server=True)]), Why.MEMBER),
            (Observation(api=True, members=[ClusterMember(name="a", ready=False, server=True)]), Why.NODE_READY),
        ],
    )
    def test_what_is_missing(self, seen: Observation, why: Why) -> None:
        outlook = look("a", seen)
        assert not outlook.formed and outlook.reason.why is why

    def test_formed(self) -> None:
        assert look("a", Observation(api=True, members=[self.HERE])).formed

    def test_own_name_comes_from_the_roster(self) -> None:
        document = SiteDocument(
            generation=1, site="s", node=NODE, labels={}, endpoints=[], roster=[Member(node=NODE, name="kitchen-1")]
        )
        assert own_name(document, NODE) == "kitchen-1"
        assert own_name(document, OTHER) is None
        assert own_name(None, NODE) is None

    def test_a_node_object(self) -> None:
        node = {
            "metadata": {"name": "a", "labels": {"node-role.kubernetes.io/control-plane": ""}},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "nodeInfo": {"kubeletVersion": "v1.36.2"},
                "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
            },
        }
        assert member(node) == ClusterMember(
            name="a", ready=True, server=True, version="v1.36.2", addresses=("192.0.2.1",)
        )
        assert member({}) == ClusterMember(name="", ready=False, server=False)


def command(sequence: int, challenge: str = "c" * 22) -> Command:
    return Command(
        id="0" * 32, verb=Verb.SYNC, site="s", node=NODE, sequence=sequence, challenge=challenge, issued=1, expires=2
    )


class TestLedger:
    def test_a_command_spends_sequence_and_challenge(self) -> None:
        ledger = ledgers.renewed(Ledger(), NOW, "c" * 22)
        assert ledgers.live(ledger, NOW) == {"c" * 22}
        taken = ledgers.take(ledger, command(5))
        assert (taken.consumed, ledgers.live(taken, NOW)) == (5, frozenset())
        done = ledgers.answered(ledgers.ended(taken, "done", ""))
        assert (done.consumed, done.current) == (5, None)
        with pytest.raises(ValueError, match="consumed"):
            ledgers.take(done, command(5))
        with pytest.raises(ValueError, match="in hand"):
            ledgers.take(taken, command(6))

    def test_challenges_are_renewed_and_end(self) -> None:
        first = ledgers.renewed(Ledger(), NOW, "first")
        assert ledgers.renewed(first, NOW + ledgers.RENEW_MS - 1, "x") is first
        both = ledgers.renewed(first, NOW + ledgers.RENEW_MS, "second")
        assert ledgers.live(both, NOW + ledgers.RENEW_MS) == {"first", "second"}
        assert ledgers.live(both, NOW + ledgers.CHALLENGE_MS) == {"second"}
        assert (
            ledgers.live(both, NOW - ledgers.SKEW_MS - 1) == frozenset()
        )  # a clock that went far back makes none valid
        assert ledgers.live(first, NOW - 1000) == {"first"}
        third = ledgers.renewed(both, NOW + 2 * ledgers.RENEW_MS, "third")
        assert ledgers.live(third, NOW + 2 * ledgers.RENEW_MS) == {"second", "third"}

    def test_published_once(self) -> None:
        ledger = ledgers.renewed(Ledger(), NOW, "first")
        assert ledgers.unpublished(ledger).value == "first"
        assert ledgers.unpublished(ledgers.published(ledger, "first")) is None

    @given(st.lists(st.tuples(st.booleans(), st.integers(1, 50)), max_size=40))
    def test_consumed_never_falls(self, moves: list[tuple[bool, int]]) -> None:
        ledger, executed = Ledger(), []
        for take, sequence in moves:
            before = ledger.consumed
            if not take:
                ledger = ledgers.skip(ledger, sequence)
            elif sequence > ledger.consumed:
                ledger = ledgers.answered(ledgers.ended(ledgers.take(ledger, command(sequence)), "done", ""))
                executed.append(sequence)
            assert ledger.consumed >= before
        assert executed == sorted(set(executed))

    def test_it_survives_json(self) -> None:
        ledger = ledgers.take(ledgers.renewed(Ledger(), NOW, "c" * 22), command(5))
        assert msgspec.json.decode(msgspec.json.encode(ledger), type=Ledger) == ledger

    def test_refusals_are_bounded(self) -> None:
        ledger = Ledger()
        for n in range(200):
            ledger = ledgers.refuse(ledger, str(n))
        assert len(ledger.refused) == ledgers.KEPT_REFUSALS and ledger.refused[-1] == "199"
