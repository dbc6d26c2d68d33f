"""Which operators' orders a node holds, and which of an endpoint's answer it takes. Pure.

`judge(signed, after)` verifies one order by what the node believes now; it raises TrustRefused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec

from agents.contracts.orders import SiteOrder
from agents.contracts.signed import SignedDocument
from agents.core.orders import read_order
from agents.core.trust_codes import TrustRefused

Judge = Callable[[SignedDocument, int], SiteOrder]


class OrderBook(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the durable record. `held`: the newest order taken of each kind; `numbers`: the highest ever taken,
    by kind: it stays when the order itself counts no longer."""

    held: list[SignedDocument] = []
    numbers: dict[str, Annotated[int, msgspec.Meta(ge=0)]] = {}


def standing(book: OrderBook, judge: Judge) -> tuple[SiteOrder, ...]:
    """The held orders that count now: not those of an epoch before, or by a key that operators took away."""
    found = []
    for signed in book.held:
        try:
            found.append(judge(signed, 0))
        except TrustRefused:
            continue
    return tuple(found)


def taken(
    book: OrderBook, offered: Sequence[SignedDocument], judge: Judge
) -> tuple[OrderBook, tuple[TrustRefused, ...]]:
    """The book after an endpoint's answer, and why what else it offered was not taken. What is held already is passed
    over, whoever signed it once more."""
    refused = []
    for signed in offered:
        if any(signed.payload == one.payload for one in book.held):
            continue
        try:
            kind = read_order(signed).kind
            order = judge(signed, book.numbers.get(kind.value, 0))
        except TrustRefused as error:
            refused.append(error)
            continue
        kept = [one for one in book.held if read_order(one).kind is not kind]
        book = OrderBook(held=[*kept, signed], numbers={**book.numbers, kind.value: order.number})
    return book, tuple(refused)
