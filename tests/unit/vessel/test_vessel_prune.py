"""What may be deleted without a person's word, and what one word allows."""

from __future__ import annotations

from typing import Any

import pytest

from vessel.model import Ref
from vessel.prune import Held, PrunePolicy, decide

NEW = "b" * 40


def maps(count: int) -> list[Ref]:
    return [Ref("v1", "ConfigMap", "n", f"m{i:03}") for i in range(count)]


def judge(leaving: list[Ref], present: int, remaining: int, **more: Any) -> Any:
    settings = {"approve": "", "held": Held(), "revision": NEW, "policy": PrunePolicy()} | more
    return decide(leaving=leaving, present=present, remaining=remaining, **settings)


@pytest.mark.parametrize(
    ("leaving", "present", "remaining", "waits"),
    [(0, 10, 10, False), (1, 10, 9, False), (5, 10, 5, False), (6, 10, 4, True), (1, 2, 1, False), (1, 1, 0, True),
     (2, 2, 0, True), (100, 1000, 900, False), (101, 1000, 899, True), (1, 10, 0, True)],
)  # fmt: skip
def test_cap(leaving: int, present: int, remaining: int, waits: bool) -> None:
    decision = judge(maps(leaving), present, remaining)
    assert bool(decision.wait) is waits
    assert bool(decision.delete) is (leaving > 0 and not waits)
    assert bool(decision.reasons) is waits


@pytest.mark.parametrize(
    "ref",
    [
        Ref("v1", "Namespace", "", "kitchen"),
        Ref("v1", "PersistentVolumeClaim", "n", "data"),
        Ref("v1", "PersistentVolume", "", "data"),
        Ref("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "x.y"),
    ],
)
def test_precious_kinds_always_wait(ref: Ref) -> None:
    decision = judge([ref], 100, 99)
    assert decision.wait == (ref,)
    assert ref.name in decision.reasons[0]


def test_a_word_allows_the_set_that_was_held_and_no_other() -> None:
    first = judge(maps(6), 10, 4, revision="a" * 40)
    assert first.held.revision == "a" * 40
    again = judge(maps(6), 10, 4, held=first.held)
    assert again.held == first.held, "the same set keeps the revision at which it was first held"
    assert judge(maps(6), 10, 4, held=first.held, approve="a" * 40).delete == tuple(maps(6))
    assert judge(maps(6), 10, 4, held=first.held, approve="a" * 7).delete
    for word in ("", "a" * 6, "c" * 40, NEW):
        assert judge(maps(6), 10, 4, held=first.held, approve=word).wait, word
    more = judge(maps(7), 10, 3, held=first.held, approve="a" * 40)
    assert more.wait and more.held.revision == NEW, "a larger set needs a word of its own"


def test_a_word_does_not_outlive_its_set() -> None:
    held = judge(maps(6), 10, 4, revision="a" * 40).held
    assert judge([], 4, 4, held=held, approve="a" * 40).held == Held()


def test_policy_can_be_turned_down() -> None:
    assert judge(maps(1), 100, 99, policy=PrunePolicy(max_percent=0, max_count=100)).wait
    assert judge(maps(1), 100, 99, policy=PrunePolicy(max_percent=100, max_count=0)).wait
