"""Whose word orders a site to do something, and that no order goes back."""

from __future__ import annotations

from typing import Any

import pytest

from agents.contracts.orders import OrderKind, SiteOrder
from agents.contracts.signed import SignedDocument
from agents.contracts.trust import OperatorKey
from agents.core.entries import EPOCH_TYPE
from agents.core.jose import SoftwareKey, thumbprint
from agents.core.orders import sign_order, verify_order
from agents.core.signed import sign_document
from agents.core.trust import TrustPolicy
from agents.core.trust_codes import TrustCode, TrustRefused
from tests.fakes.trust_kit import (
    ALICE,
    BOB,
    ENDPOINT,
    MALLORY,
    NOW,
    OTHER_ENDPOINT,
    SITE,
    operators,
    raw_order,
    site_order,
)


def judged(signed: SignedDocument, **changed: Any) -> SiteOrder:
    arguments: dict[str, Any] = {
        "operators": operators(), "policy": TrustPolicy.OPERATORS, "site": SITE, "epoch": 1,
        "roster_keys": {thumbprint(ENDPOINT.public): ENDPOINT.public},
    }  # fmt: skip
    return verify_order(signed, **{**arguments, **changed})


def refused(signed: SignedDocument, **changed: Any) -> TrustRefused:
    with pytest.raises(TrustRefused) as found:
        judged(signed, **changed)
    return found.value


def test_an_operators_order_counts_under_both_policies() -> None:
    order = site_order()
    for policy in TrustPolicy:
        assert judged(sign_order(order, ALICE), policy=policy, after=9) == order
    rotate = site_order(11, kind=OrderKind.ROTATE, version="", generation=4)
    assert judged(sign_order(rotate, ALICE)) == rotate


@pytest.mark.parametrize("key", [ENDPOINT, OTHER_ENDPOINT, MALLORY, BOB])
def test_nobody_else_orders_anything_where_operators_keys_count(key: SoftwareKey) -> None:
    assert refused(raw_order(site_order(), key)).code is TrustCode.ORDER_SIGNATURE


def test_the_key_that_signs_rosters_is_enough_where_the_endpoints_word_counts() -> None:
    for known in (None, operators()):
        assert judged(raw_order(site_order(), ENDPOINT), policy=TrustPolicy.ENDPOINT, operators=known).number == 10
    other = raw_order(site_order(), OTHER_ENDPOINT)
    assert refused(other, policy=TrustPolicy.ENDPOINT, operators=None).code is TrustCode.ORDER_SIGNATURE


def test_a_key_orders_nothing_after_it_was_retired() -> None:
    keys = [OperatorKey(name="alice", key=ALICE.public, retired=NOW), OperatorKey(name="bob", key=BOB.public)]
    known = operators(keys=keys)
    assert judged(raw_order(site_order()), operators=known).number == 10
    late = refused(raw_order(site_order(issued_at=NOW + 1)), operators=known)
    assert late.code is TrustCode.ORDER_SIGNATURE and "retired" in late.cause


@pytest.mark.parametrize(
    ("order", "changed", "code"),
    [
        (site_order(), {"site": "store-2"}, TrustCode.ORDER_SITE),
        (site_order(), {"epoch": 2}, TrustCode.ORDER_EPOCH),
        (site_order(epoch=2), {}, TrustCode.ORDER_EPOCH),
        (site_order(), {"after": 10}, TrustCode.ORDER_NUMBER),
        (site_order(), {"after": 11}, TrustCode.ORDER_NUMBER),
        (site_order(version=""), {}, TrustCode.ORDER_PAYLOAD),
        (site_order(generation=2), {}, TrustCode.ORDER_PAYLOAD),
        (site_order(kind=OrderKind.ROTATE), {}, TrustCode.ORDER_PAYLOAD),
    ],
)
def test_an_order_that_is_not_for_this_site_now_is_refused(
    order: SiteOrder, changed: dict[str, Any], code: TrustCode
) -> None:
    assert refused(raw_order(order), **changed).code is code


@pytest.mark.parametrize(
    "wrong",
    [
        {"v": 2}, {"number": 0}, {"number": "x"}, {"epoch": 0}, {"kind": "wipe"}, {"version": "1.36"},
        {"version": "1.36.3; reboot"}, {"version": "../1.36.3"}, {"site": ""}, {"generation": -1}, {"issued_at": -1},
    ],
)  # fmt: skip
def test_a_payload_that_is_no_order_is_refused(wrong: dict[str, Any]) -> None:
    body = {"v": 1, "site": SITE, "epoch": 1, "kind": "upgrade", "number": 1, "version": "1.36.3", "issued_at": NOW}
    assert judged(sign_document(body, [ALICE], "galley-order+jws"))
    assert refused(sign_document({**body, **wrong}, [ALICE], "galley-order+jws")).code is TrustCode.ORDER_PAYLOAD


def test_what_an_operator_signed_as_something_else_is_no_order() -> None:
    assert refused(sign_document(site_order(), [ALICE], EPOCH_TYPE)).code is TrustCode.ORDER_SIGNATURE


def test_nobody_signs_what_nobody_would_take() -> None:
    with pytest.raises(TrustRefused):
        sign_order(site_order(version=""), ALICE)
