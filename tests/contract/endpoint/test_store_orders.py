"""Orders to sites in every Store: who may give one, and what nodes are shown of them."""

from __future__ import annotations

from typing import Any

import pytest

from agents.contracts.codec import encode
from agents.contracts.identity import SiteDocument
from agents.contracts.orders import OrderKind, SiteOrder
from agents.contracts.signed import SignedDocument
from agents.core.errors import Rejected
from agents.core.jose import thumbprint
from agents.core.orders import read_order, verify_order
from agents.core.trust import TrustPolicy
from agents.core.trust_codes import TrustCode, TrustRefused
from cloud_endpoint.store import audit, enrol, grants, orders, sites, trust
from cloud_endpoint.store.port import Store, Tx
from tests.fakes.store_kit import Opener
from tests.fakes.trust_kit import (
    ALICE,
    BOXES,
    ENDPOINT,
    MALLORY,
    SITE,
    authorisation,
    chained,
    operators_document,
    raw_order,
    site_order,
)

ROTATE: dict[str, Any] = {"kind": OrderKind.ROTATE, "version": ""}


@pytest.fixture
async def ready(store: Store) -> Store:
    """One site with one enrolled box, and no operators' document."""

    def work(tx: Tx) -> None:
        from agents.contracts.identity import EnrolRequest

        box = BOXES[0]
        sites.put(tx, SITE, {}, None)
        sites.ship(
            tx, hardware_id=box.hardware, site=SITE, name=box.name, address=box.address, proof="code",
            code_hash=enrol.code_hash(box.hardware, "code"),
        )  # fmt: skip
        request = EnrolRequest(
            hardware_id=box.hardware, signing=box.signing.public, sealing=box.sealing.public, proof="", code="code"
        )
        enrol.enrol(tx, request, "")

    await store.write(work)
    return store


async def put(store: Store, given: SignedDocument | SiteOrder, site: str = SITE) -> Any:
    return await store.write(lambda tx: trust.put_order(tx, site, given, ENDPOINT, "op:alice"))


async def shown(store: Store) -> list[SignedDocument]:
    def work(tx: Tx) -> SiteDocument:
        found = sites.document(tx, BOXES[0].node, [], [])
        assert found is not None
        return trust.signed_site(tx, found, ENDPOINT)

    return (await store.read(work)).orders


async def test_without_operators_the_endpoint_signs_and_nodes_that_take_its_word_believe_it(
    ready: Store, reopen: Opener
) -> None:
    made = await put(ready, site_order(7))
    assert made.order == site_order(7) and made.current
    await put(ready, site_order(8, **ROTATE))
    await put(ready, site_order(9, version="1.36.4"))
    await ready.aclose()
    again = await reopen()
    found = await shown(again)
    keys = {thumbprint(ENDPOINT.public): ENDPOINT.public}
    judged = [
        verify_order(one, operators=None, policy=TrustPolicy.ENDPOINT, roster_keys=keys, site=SITE, epoch=1)
        for one in found
    ]
    assert [(one.kind.value, one.number, one.version) for one in judged] == [
        ("rotate", 8, ""),
        ("upgrade", 9, "1.36.4"),
    ]
    await again.aclose()


async def test_with_operators_their_signature_is_needed_and_kept_as_it_is(ready: Store) -> None:
    with pytest.raises(Rejected, match="no operators' document"):
        await put(ready, raw_order(site_order()))
    await ready.write(lambda tx: trust.push(tx, chained(operators_document()), "op:alice", orphans=False))
    for wrong in (site_order(), raw_order(site_order(), ENDPOINT), raw_order(site_order(), MALLORY)):
        with pytest.raises(TrustRefused) as refused:
            await put(ready, wrong)
        assert refused.value.code is TrustCode.ORDER_SIGNATURE
    assert await shown(ready) == []
    good = raw_order(site_order(), ALICE)
    await put(ready, good)
    assert await shown(ready) == [good]
    entries = [one for one in await ready.read(lambda tx: audit.recent(tx)) if one.action == "site order"]
    assert [(one.target, one.detail) for one in entries] == [(SITE, "upgrade 1.36.3, number 10, epoch 1")]


async def test_numbers_rise_whatever_the_kind_and_the_site_must_be_there_at_that_epoch(ready: Store) -> None:
    await put(ready, site_order(10))
    for wrong in (site_order(10), site_order(9), site_order(10, **ROTATE), site_order(3, **ROTATE)):
        with pytest.raises(Rejected, match="not above 10"):
            await put(ready, wrong)
    with pytest.raises(Rejected, match="no site"):
        await put(ready, site_order(11, site="store-9"), "store-9")
    for order, code in ((site_order(11, site="store-9"), TrustCode.ORDER_SITE), (site_order(11, epoch=2), None)):
        with pytest.raises(TrustRefused) as refused:
            await put(ready, order)
        assert refused.value.code is (code or TrustCode.ORDER_EPOCH)
    assert [read_order(one).number for one in await shown(ready)] == [10]


async def test_the_site_document_says_that_it_changed_and_an_epochs_orders_end_with_it(ready: Store) -> None:
    before = await ready.read(lambda tx: sites.get(tx, SITE))
    await put(ready, site_order(10))
    after = await ready.read(lambda tx: sites.get(tx, SITE))
    assert before and after and after.generation == before.generation + 1
    text = encode(authorisation()).decode()
    await ready.write(lambda tx: grants.raise_epoch(tx, SITE, 2, election=None, authorisation=text, actor="op:a"))
    assert await shown(ready) == []
    listed = await ready.read(lambda tx: orders.listed(tx, SITE))
    assert [(one.order.number, one.current) for one in listed] == [(10, False)]
    await put(ready, site_order(11, epoch=2))
    assert [read_order(one).epoch for one in await shown(ready)] == [2]
