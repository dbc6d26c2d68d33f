"""Who may write: the leader-election rules, with clocks that disagree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vessel import lease
from vessel.lease import Record, Seen, Terms

T = Terms()


def test_an_absent_or_free_lease_may_be_taken() -> None:
    assert lease.may_take(lease.observe(Seen(), None, 0.0), "me", 0.0, T)
    assert lease.may_take(lease.observe(Seen(), Record(holder=""), 0.0), "me", 0.0, T)


def test_anothers_lease_may_be_taken_only_after_its_whole_duration_unchanged() -> None:
    seen = lease.observe(Seen(), Record(holder="other", resource_version="1"), 100.0)
    assert not lease.may_take(seen, "me", 100.0, T)
    assert not lease.may_take(seen, "me", 114.9, T)
    assert lease.may_take(seen, "me", 115.0, T)
    seen = lease.observe(seen, Record(holder="other", resource_version="2"), 114.0)  # renewed
    assert not lease.may_take(seen, "me", 128.9, T)
    assert lease.may_take(seen, "me", 129.0, T)
    assert lease.observe(seen, Record(holder="other", resource_version="2"), 120.0).at == 114.0


def test_my_own_lease_may_be_taken_at_once_after_a_restart() -> None:
    assert lease.may_take(lease.observe(Seen(), Record(holder="me", resource_version="1"), 0.0), "me", 0.0, T)
    # but it does not allow to write before it is renewed
    assert not lease.may_write(lease.observe(Seen(), Record(holder="me", resource_version="1"), 0.0), "me", 0.0, T)


def test_writing_ends_at_the_renew_deadline_before_others_may_take_it() -> None:
    seen = lease.written(Record(holder="me", resource_version="1"), 50.0, T)
    assert lease.may_write(seen, "me", 59.9, T)
    assert not lease.may_write(seen, "me", 60.0, T)
    assert seen.held_until == 65.0
    assert not lease.may_write(seen, "you", 51.0, T)
    assert not lease.may_write(lease.lost(seen), "me", 51.0, T)


def test_seeing_another_holder_ends_writing() -> None:
    seen = lease.written(Record(holder="me", resource_version="1"), 50.0, T)
    seen = lease.observe(seen, Record(holder="other", resource_version="2"), 51.0)
    assert not lease.may_write(seen, "me", 51.0, T)


@pytest.mark.parametrize("gap", [0.0, 4.9, 5.0])
def test_no_two_may_write_at_once(gap: float) -> None:
    """Whatever the second one saw first: its take-over is at least the difference of the terms later."""
    mine = lease.written(Record(holder="a", resource_version="1"), 0.0, T)
    theirs = lease.observe(Seen(), mine.record, gap)
    for tenth in range(300):
        now = tenth / 10
        if lease.may_take(theirs, "b", now, T):
            assert not lease.may_write(mine, "a", now, T)


def test_body_of_a_new_lease() -> None:
    body = lease.body(None, namespace="n", name="v", me="me", wall_ms=1_700_000_000_123, terms=T, revision="r1")
    assert body["spec"]["leaseTransitions"] == 0
    assert body["spec"]["leaseDurationSeconds"] == 15
    assert body["spec"]["renewTime"] == "2023-11-14T22:13:20.123000Z"
    assert body["metadata"]["annotations"] == {lease.REVISION_ANNOTATION: "r1"}
    assert "resourceVersion" not in body["metadata"]


def test_body_of_renewal_and_take_over() -> None:
    old = {"metadata": {"resourceVersion": "7", "annotations": {"a": "b", lease.REVISION_ANNOTATION: "r0"}},
           "spec": {"holderIdentity": "me", "acquireTime": "then", "leaseTransitions": 3}}  # fmt: skip
    kw = {"namespace": "n", "name": "v", "wall_ms": 0, "terms": T}
    renewed = lease.body(old, me="me", revision="", **kw)  # type: ignore[arg-type]
    assert (renewed["spec"]["acquireTime"], renewed["spec"]["leaseTransitions"]) == ("then", 3)
    assert renewed["metadata"]["resourceVersion"] == "7"
    assert renewed["metadata"]["annotations"] == {"a": "b", lease.REVISION_ANNOTATION: "r0"}
    taken = lease.body(old, me="you", revision="r1", **kw)  # type: ignore[arg-type]
    assert taken["spec"]["leaseTransitions"] == 4
    assert taken["spec"]["acquireTime"] != "then"


def test_read() -> None:
    assert lease.read(None) is None
    assert lease.read({}) == Record()
    found = lease.read({"metadata": {"resourceVersion": "3", "annotations": {lease.REVISION_ANNOTATION: "r"}},
                        "spec": {"holderIdentity": "x", "leaseTransitions": 2}})  # fmt: skip
    assert found == replace(Record(), holder="x", resource_version="3", transitions=2, revision="r")
