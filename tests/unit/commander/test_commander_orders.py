"""Which orders a node takes of its endpoint, keeps over restarts, and offers to its formation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog
from commander_fakes import FakeOutbox

from agents.contracts.orders import OrderKind, SiteOrder
from agents.contracts.signed import SignedDocument
from agents.contracts.trust import OperatorKey, Roster
from agents.core.trust import TrustPolicy
from edge_commander.formation.site import site_of
from edge_commander.trust.keeper import NodeTrust
from edge_commander.trust.record import Basis
from tests.fakes.trust_kit import (
    ALICE,
    BOB,
    BOXES,
    ENDPOINT,
    MALLORY,
    NOW,
    authorisation,
    chained,
    operators,
    operators_document,
    raw_order,
    roster,
    site_document,
    site_order,
)

ROTATE: dict[str, Any] = {"kind": OrderKind.ROTATE, "version": ""}


class Bench:
    def __init__(self, directory: Path, basis: Basis | None = None) -> None:
        self.directory, self.outbox = directory, FakeOutbox()
        self.basis = basis or Basis(TrustPolicy.OPERATORS, operators())
        self.restart()

    def restart(self, basis: Basis | None = None) -> None:
        self.basis = basis or self.basis
        self.trust = NodeTrust(self.directory, self.basis, self.outbox, structlog.get_logger())

    async def take(self, *orders: SignedDocument, signed: Roster | None = None, **changed: Any) -> tuple[int, ...]:
        document = site_document(signed or roster(), orders=list(orders), **changed)
        await self.trust.take(document, BOXES[0].own(), NOW)
        return self.numbers

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(one.number for one in self.trust.orders)

    @property
    def alerts(self) -> list[tuple[str, str]]:
        return [(one.code, one.text.partition(":")[0]) for one in self.outbox.bodies]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_the_newest_of_each_kind_is_kept_over_restarts_and_offered_to_formation(bench: Bench) -> None:
    assert await bench.take(raw_order(site_order(10)), raw_order(site_order(8, **ROTATE))) == (10, 8)
    assert await bench.take(raw_order(site_order(12, version="1.36.4"))) == (8, 12)
    bench.restart()
    assert bench.numbers == (8, 12) and not bench.alerts
    site = site_of(BOXES[0].node, bench.trust.roster, bench.trust.orders)
    assert site is not None
    upgrade, rotate = site.order(OrderKind.UPGRADE), site.order(OrderKind.ROTATE)
    assert upgrade is not None and upgrade.version == "1.36.4" and rotate is not None and rotate.number == 8
    assert await bench.take() == (8, 12), "an endpoint that shows them no longer takes none back"


async def test_a_stolen_endpoint_orders_nothing(bench: Bench) -> None:
    """It holds the roster's key, may sign whatever it likes with it, and may show any order that it once saw."""
    old = raw_order(site_order(9, version="1.36.1"))
    assert await bench.take(old) == (9,)
    assert await bench.take(raw_order(site_order(10))) == (10,)
    stolen: list[SiteOrder] = [site_order(99), site_order(99, **ROTATE), site_order(2**53 - 1, version="9.9.9")]
    for order in stolen:
        for key in (ENDPOINT, MALLORY):
            assert await bench.take(raw_order(order, key)) == (10,)
    assert await bench.take(old) == (10,), "an older one is not taken again"
    assert await bench.take(raw_order(site_order(10, version="1.36.1"))) == (10,), "a number means one order"
    elsewhere = raw_order(site_order(50, site="store-2"))
    assert await bench.take(elsewhere) == (10,)
    changed = SignedDocument(payload=raw_order(site_order(60)).payload, signatures=elsewhere.signatures)
    assert await bench.take(changed) == (10,)
    assert bench.alerts == [
        ("order-refused", "order-signature"), ("order-refused", "order-number"), ("order-refused", "order-site"),
    ]  # fmt: skip
    bench.restart()
    assert bench.numbers == (10,) and bench.trust.orders[0].version == "1.36.3"
    assert await bench.take(raw_order(site_order(11))) == (11,), "and the operators' next one counts still"


async def test_where_the_endpoints_word_counts_it_orders(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Basis(TrustPolicy.ENDPOINT))
    assert await bench.take(raw_order(site_order(), ENDPOINT)) == (10,)
    assert await bench.take(raw_order(site_order(11), MALLORY)) == (10,)
    bench.restart()
    assert bench.numbers == (10,)


async def test_an_order_ends_with_its_epoch_and_its_number_does_not(bench: Bench) -> None:
    await bench.take(raw_order(site_order(10)))
    second = roster(6, epoch=2, authorisation=authorisation(2))
    assert await bench.take(signed=second) == ()
    assert await bench.take(raw_order(site_order(10, epoch=2)), signed=second) == ()
    assert await bench.take(raw_order(site_order(11, epoch=2)), signed=second) == (11,)


async def test_an_order_ends_with_the_key_that_signed_it(bench: Bench) -> None:
    await bench.take(raw_order(site_order(10)))
    keys = [OperatorKey(name="alice", key=ALICE.public), OperatorKey(name="bob", key=BOB.public)]
    both = chained(operators_document(2, keys=keys))
    assert await bench.take(raw_order(site_order(11), BOB), operators=[both]) == (11,)
    from agents.core.entries import sign_entry

    entries = [box.member(sign_entry(box.entry(), ALICE)) for box in BOXES]
    alone = chained(operators_document(3, keys=keys[:1]))
    await bench.take(signed=roster(6, entries), operators=[alone])
    assert bench.numbers == ()
    assert await bench.take(raw_order(site_order(11)), signed=roster(6, entries)) == (), "nor does its number come anew"
    assert await bench.take(raw_order(site_order(12)), signed=roster(6, entries)) == (12,)


async def test_no_order_counts_before_there_is_a_roster(bench: Bench) -> None:
    document = site_document(None, orders=[raw_order(site_order())])
    await bench.trust.take(document, BOXES[0].own(), NOW)
    assert bench.numbers == () and site_of(BOXES[0].node, bench.trust.roster, bench.trust.orders) is None
