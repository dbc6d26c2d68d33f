"""The pure decisions: who may join, which message is newer, who asks too often."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from agents.contracts.identity import EnrolStatus
from cloud_endpoint.rules.enrolment import MAX_CODE_TRIES, DeviceStatus, Known, Proof, decide
from cloud_endpoint.rules.newer import FUTURE_MS, Position, is_newer, stored_ms
from cloud_endpoint.rules.ratelimit import RateLimit, source_key
from cloud_endpoint.settings import EndpointOwn, problems

IN, REVOKED = DeviceStatus.ENROLLED, DeviceStatus.REVOKED
TABLE: list[tuple[dict[str, Any], EnrolStatus, set[str]]] = [
    ({}, EnrolStatus.PENDING, set()),
    ({"code_matches": True}, EnrolStatus.PENDING, set()),
    ({"proof": Proof.APPROVAL}, EnrolStatus.PENDING, set()),
    ({"proof": Proof.APPROVAL, "code_matches": True}, EnrolStatus.PENDING, set()),
    ({"proof": Proof.CODE}, EnrolStatus.PENDING, set()),
    ({"proof": Proof.CODE, "code_matches": True}, EnrolStatus.ENROLLED, {"enrol"}),
    ({"proof": Proof.CODE, "code_matches": False}, EnrolStatus.REFUSED, {"count_try"}),
    ({"proof": Proof.CODE, "code_matches": True, "code_used": True}, EnrolStatus.PENDING, set()),
    ({"proof": Proof.CODE, "code_matches": True, "code_tries": MAX_CODE_TRIES}, EnrolStatus.PENDING, set()),
    ({"proof": Proof.TPM}, EnrolStatus.PENDING, set()),
    ({"proof": Proof.TPM, "code_matches": True}, EnrolStatus.PENDING, set()),
    ({"proof": Proof.TPM, "ek_matches": False}, EnrolStatus.REFUSED, {"alert"}),
    ({"proof": Proof.TPM, "ek_matches": True}, EnrolStatus.CHALLENGE, set()),
    ({"proof": Proof.TPM, "ek_matches": True, "answer_right": False}, EnrolStatus.REFUSED, {"alert"}),
    ({"proof": Proof.TPM, "ek_matches": True, "answer_right": True}, EnrolStatus.ENROLLED, {"enrol"}),
    ({"proof": Proof.TPM, "ek_matches": True, "answer_right": True, "refused": True}, EnrolStatus.REFUSED, set()),
    ({"proof": Proof.CODE, "ek_matches": True, "answer_right": True}, EnrolStatus.PENDING, set()),
    ({"proof": Proof.APPROVAL, "ek_matches": True, "answer_right": True}, EnrolStatus.PENDING, set()),
    ({"device": IN, "proof": Proof.TPM, "ek_matches": True}, EnrolStatus.QUARANTINED, {"alert"}),
    ({"device": IN, "same_keys": True, "proof": Proof.TPM}, EnrolStatus.ENROLLED, set()),
    ({"proof": Proof.CODE, "code_matches": True, "refused": True}, EnrolStatus.REFUSED, set()),
    ({"refused": True}, EnrolStatus.REFUSED, set()),
    ({"device": IN, "same_keys": True}, EnrolStatus.ENROLLED, set()),
    ({"device": IN, "same_keys": True, "proof": Proof.CODE, "code_matches": False}, EnrolStatus.ENROLLED, set()),
    ({"device": IN}, EnrolStatus.QUARANTINED, {"alert"}),
    ({"device": IN, "proof": Proof.CODE, "code_matches": True}, EnrolStatus.QUARANTINED, {"alert"}),
    ({"device": IN, "refused": True}, EnrolStatus.REFUSED, set()),
    ({"device": REVOKED, "same_keys": True}, EnrolStatus.REFUSED, set()),
    ({"device": REVOKED, "proof": Proof.CODE, "code_matches": True}, EnrolStatus.QUARANTINED, {"alert"}),
]


@pytest.mark.parametrize(("known", "status", "effects"), TABLE)
def test_who_may_join(known: dict[str, Any], status: EnrolStatus, effects: set[str]) -> None:
    decision = decide(Known(**known))
    assert decision.status is status
    assert {name for name in ("enrol", "alert", "count_try") if getattr(decision, name)} == effects
    assert decision.reason


def test_only_a_matching_unused_code_or_an_opened_challenge_ever_registers_a_key() -> None:
    said, yes_no = (None, False, True), (False, True)
    ways = itertools.product((None, IN, REVOKED), (None, *Proof), said, yes_no, yes_no, said, said)
    for device, proof, matches, used, same, ek, opened in ways:
        known = Known(
            device=device, proof=proof, code_matches=matches, code_used=used, same_keys=same, ek_matches=ek,
            answer_right=opened,
        )  # fmt: skip
        by_code = proof is Proof.CODE and matches is True and not used
        by_tpm = proof is Proof.TPM and ek is True and opened is True
        assert decide(known).enrol is (device is None and (by_code or by_tpm))


def test_within_a_run_the_number_decides_and_across_runs_the_time() -> None:
    known = Position("a", 5, 1000)
    assert is_newer(known, None, 0)
    assert is_newer(Position("a", 6, 1), known, 2000)
    assert not is_newer(Position("a", 4, 9000), known, 2000)
    assert not is_newer(known, known, 2000)
    assert is_newer(Position("b", 1, 1001), known, 2000)
    assert not is_newer(Position("b", 1, 999), known, 2000)
    future = Position("a", 5, 2001 + FUTURE_MS)
    assert is_newer(Position("b", 1, 999), future, 2000)
    heard = Position("a", 5, 1000, 1010)
    assert is_newer(Position("b", 1, 7, stored_ms(7, 8, 1500)), heard, 1500), "a clock that went back"
    assert not is_newer(Position("b", 1, 7, stored_ms(7, 507, 1500)), heard, 1500)
    assert not is_newer(Position("b", 1, 7, stored_ms(7, None, 1500)), heard, 1500)
    assert stored_ms(9000, 8, 1500) == 1500, "never later than now"
    assert not is_newer(Position("a", 4, 9000, 1500), heard, 1500)


def test_a_bucket_lets_through_its_rate_and_says_when() -> None:
    limit = RateLimit(rate=2, burst=3)
    assert [limit.take("a", 0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.take("b", 0) == 0
    assert limit.take("a", 0.5) == 0
    assert limit.take("a", 0.5) == 0.5
    assert [limit.take("a", 100) for _ in range(4)] == [0, 0, 0, 0.5]


def test_the_memory_of_a_limit_is_bounded_and_a_busy_key_is_not_forgotten() -> None:
    limit = RateLimit(rate=1, burst=1, keys=100)
    limit.take("busy", 0)
    for n in range(1000):
        limit.take(str(n), 0)
        assert limit.take("busy", 0) > 0
    assert len(limit) == 100


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_source_addresses_of_one_customer_are_one_key(address: str | None, key: str) -> None:
    assert source_key(address) == key


def test_health_may_listen_on_loopback_alone() -> None:
    own = {"tls": {"cert_file": "a", "key_file": "b"}, "issuer": "https://x"}
    found = problems(msgspec.convert({**own, "health": {"bind": "0.0.0.0", "port": 1}}, EndpointOwn))
    assert [text.split(":")[0] for text in found] == ["cloud_endpoint.health.bind"]
    assert problems(msgspec.convert({**own, "issuer": "https://x"}, EndpointOwn)) == []
