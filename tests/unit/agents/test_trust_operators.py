"""Operators' documents: what may follow what, signed by whom; and entries and rosters over a change of keys."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.contracts.signed import SignedDocument
from agents.contracts.trust import OperatorKey, OperatorsDocument
from agents.core.jose import SignatureRefused, SoftwareKey, thumbprint
from agents.core.operators import (
    OPERATORS_TYPE,
    first_operators,
    follow,
    next_operators,
    operators_of,
    plain_operators,
    read_operators_document,
    sign_operators,
)
from agents.core.signed import sign_document, signature
from agents.core.trust_codes import TrustCode, TrustRefused
from tests.fakes.trust_kit import ALICE, BOB, ENDPOINT, MALLORY, NOW, chained, operators, operators_document

ALICES, BOBS = OperatorKey(name="alice", key=ALICE.public), OperatorKey(name="bob", key=BOB.public)
BOTH = [ALICES, BOBS]


def refused(signed: SignedDocument, **root: Any) -> TrustCode:
    with pytest.raises(TrustRefused) as error:
        next_operators(operators(**root), signed)
    return error.value.code


def test_the_next_document_is_signed_by_the_keys_before() -> None:
    found = next_operators(operators(), chained(operators_document(2, keys=BOTH)))
    assert (found.generation, set(found.signing)) == (2, {thumbprint(ALICE.public), thumbprint(BOB.public)})


@pytest.mark.parametrize("generation", [1, 3, 4])
def test_no_document_is_skipped_or_taken_twice(generation: int) -> None:
    assert refused(chained(operators_document(generation, keys=BOTH))) is TrustCode.OPERATORS_GENERATION


@pytest.mark.parametrize("signers", [[MALLORY], [BOB], [ALICE, MALLORY], [ALICE, BOB]])
def test_new_keys_and_strangers_sign_nothing(signers: list[SoftwareKey]) -> None:
    assert refused(chained(operators_document(2, keys=BOTH), *signers)) is TrustCode.OPERATORS_SIGNATURE


def test_the_threshold_is_of_distinct_keys_of_the_document_before() -> None:
    two = {"keys": BOTH, "threshold": 2}
    third = operators_document(2, keys=[*BOTH, OperatorKey(name="carol", key=MALLORY.public)], threshold=1)
    assert refused(chained(third), **two) is TrustCode.OPERATORS_THRESHOLD
    once = chained(third)
    twice = msgspec.structs.replace(once, signatures=[*once.signatures, signature(once.payload, ALICE, OPERATORS_TYPE)])
    assert refused(twice, **two) is TrustCode.OPERATORS_THRESHOLD
    assert next_operators(operators(**two), chained(third, ALICE, BOB)).generation == 2


def test_a_retired_key_signs_no_document() -> None:
    retired = {"keys": [msgspec.structs.replace(ALICES, retired=NOW), BOBS]}
    assert refused(chained(operators_document(2)), **retired) is TrustCode.OPERATORS_SIGNATURE


BAD: dict[str, OperatorsDocument] = {
    "a login's kind of key": operators_document(keys=[OperatorKey(name="a", key=ENDPOINT.public)]),
    "a private key": operators_document(keys=[OperatorKey(name="a", key=ALICE.private())]),
    "one key twice": operators_document(keys=[ALICES, OperatorKey(name="b", key=ALICE.public)]),
    "one name twice": operators_document(keys=[ALICES, OperatorKey(name="alice", key=BOB.public)]),
    "a threshold that nobody reaches": operators_document(threshold=2),
    "all keys retired": operators_document(keys=[msgspec.structs.replace(ALICES, retired=NOW)]),
    "a roster key of another kind": operators_document(roster_keys=[ALICE.public]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_document_that_could_not_be_used_is_neither_signed_nor_taken(case: str) -> None:
    for do in (lambda: operators_of(BAD[case]), lambda: sign_operators(BAD[case], [ALICE])):
        with pytest.raises(TrustRefused) as error:
            do()
        assert error.value.code is TrustCode.OPERATORS_KEYS
    signed = sign_document(msgspec.structs.replace(BAD[case], generation=2), [ALICE], OPERATORS_TYPE)
    assert refused(signed) is TrustCode.OPERATORS_KEYS


def test_the_first_document_has_a_signature_of_its_own_and_the_plain_list_is_followed_by_it() -> None:
    first = chained(operators_document())
    assert first_operators(first).generation == 1
    for bad in (chained(operators_document(), BOB), chained(operators_document(2)), sign_document({}, [ALICE], "x")):
        with pytest.raises(TrustRefused):
            first_operators(bad)
    plain = plain_operators([ALICE.public])
    assert next_operators(plain, first).generation == 1
    with pytest.raises(TrustRefused):
        next_operators(plain, chained(operators_document(keys=[BOBS]), BOB))
    with pytest.raises(SignatureRefused):
        plain_operators([ENDPOINT.public])


def chain() -> list[SignedDocument]:
    """Alice, then both, then Bob alone, then Bob and a third."""
    return [
        chained(operators_document(2, keys=BOTH)),
        chained(operators_document(3, keys=[BOBS]), ALICE),
        chained(operators_document(4, keys=[BOBS, OperatorKey(name="carol", key=MALLORY.public)]), BOB),
    ]


def test_a_chain_is_taken_in_order_as_far_as_it_leads() -> None:
    reached, taken, problem = follow(operators(), chain())
    assert (reached.generation, len(taken), problem) == (4, 3, None)
    again, taken, problem = follow(reached, chain())
    assert (again, taken, problem) == (reached, [], None)
    gap = [chain()[0], chain()[2]]
    reached, taken, problem = follow(operators(), gap)
    assert (reached.generation, len(taken)) == (2, 1) and problem is not None
    assert problem.code is TrustCode.OPERATORS_GENERATION
    forged = [chain()[0], chained(operators_document(3, keys=BOTH), MALLORY), chain()[2]]
    reached, taken, problem = follow(operators(), forged)
    assert (reached.generation, len(taken)) == (2, 1) and problem is not None
    assert problem.code is TrustCode.OPERATORS_SIGNATURE


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**20), st.integers(0, 6), st.sampled_from(["payload", "protected", "signature"]))
def test_any_bit_flipped_anywhere_is_refused(at: int, bit: int, where: str) -> None:
    good = chain()[0]
    one = good.signatures[0]
    text = good.payload if where == "payload" else getattr(one, where)
    index = at % len(text)
    bad_text = text[:index] + chr(ord(text[index]) ^ (1 << bit)) + text[index + 1 :]
    if where == "payload":
        bad = msgspec.structs.replace(good, payload=bad_text)
    else:
        bad = msgspec.structs.replace(good, signatures=[msgspec.structs.replace(one, **{where: bad_text})])
    reached, taken, problem = follow(operators(), [bad])
    assert reached.generation == 1 and taken == []
    # A flip in the generation may make it one that was taken long ago: passed over, which is no less.
    assert problem is not None or read_operators_document(bad).generation <= 1
