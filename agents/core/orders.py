"""Operators' orders to a site: whose word makes one, and that none goes back. Pure.

Under the policy `operators` only their keys count, so a stolen endpoint can order nothing: it can keep an order back,
or show an old one, which its number gives away. Under `endpoint` the key that signs the site's rosters is enough.
"""

from __future__ import annotations

from collections.abc import Mapping

from agents.contracts.orders import OrderKind, SiteOrder
from agents.contracts.signed import SignedDocument
from agents.core.jose import Jwk, SignatureRefused, Signer
from agents.core.operators import Operators
from agents.core.signed import read_payload, sign_document, signers_of
from agents.core.trust import TrustPolicy
from agents.core.trust_codes import TrustCode, TrustRefused

ORDER_TYPE = "galley-order+jws"


def sign_order(order: SiteOrder, signer: Signer) -> SignedDocument:
    """Signed by one operator, or by the endpoint for a site that takes its word; raises TrustRefused for an order that
    nobody would take."""
    _consistent(order)
    return sign_document(order, [signer], ORDER_TYPE)


def read_order(signed: SignedDocument) -> SiteOrder:
    """The payload, nothing verified; raises TrustRefused."""
    try:
        return read_payload(signed, SiteOrder)
    except SignatureRefused as error:
        raise TrustRefused(TrustCode.ORDER_PAYLOAD, error.cause) from None


def verify_order(
    signed: SignedDocument,
    *,
    operators: Operators | None,
    policy: TrustPolicy,
    roster_keys: Mapping[str, Jwk],
    site: str,
    epoch: int,
    after: int = 0,
) -> SiteOrder:
    """The order, where every rule holds; raises TrustRefused.

    `roster_keys`: those that may sign rosters, by thumbprint; they count under the policy `endpoint` alone. `after`:
    the number of the last order of its kind that was taken.
    """
    order = read_order(signed)
    by_operators = {} if operators is None else {kid: one.key for kid, one in operators.keys.items()}
    by_endpoint = roster_keys if policy is TrustPolicy.ENDPOINT else {}
    try:
        kids = signers_of(signed.payload, signed.signatures, {**by_endpoint, **by_operators}, ORDER_TYPE)
    except SignatureRefused as error:
        raise TrustRefused(TrustCode.ORDER_SIGNATURE, f"{_name(order)}: {error.cause}") from None
    if not any(kid in by_endpoint or (operators and operators.counts(kid, order.issued_at)) for kid in kids):
        text = f"{_name(order)}: its operator's key was retired before the order was issued"
        raise TrustRefused(TrustCode.ORDER_SIGNATURE, text)
    if order.site != site:
        raise TrustRefused(TrustCode.ORDER_SITE, f"{_name(order)}: it is for another site")
    if order.epoch != epoch:
        text = f"{_name(order)}: it is for epoch {order.epoch}, the site is at {epoch}"
        raise TrustRefused(TrustCode.ORDER_EPOCH, text)
    if order.number <= after:
        raise TrustRefused(TrustCode.ORDER_NUMBER, f"{_name(order)}: order {after} was taken")
    _consistent(order)
    return order


def _consistent(order: SiteOrder) -> None:
    upgrade = order.kind is OrderKind.UPGRADE
    if upgrade and not order.version:
        raise TrustRefused(TrustCode.ORDER_PAYLOAD, f"{_name(order)}: it names no version")
    if upgrade and order.generation:
        raise TrustRefused(TrustCode.ORDER_PAYLOAD, f"{_name(order)}: an upgrade has no generation of secrets")
    if not upgrade and order.version:
        raise TrustRefused(TrustCode.ORDER_PAYLOAD, f"{_name(order)}: only an upgrade names a version")


def _name(order: SiteOrder) -> str:
    return f"{order.kind.value} {order.number}"
