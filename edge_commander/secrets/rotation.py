"""How a site's secrets change within an epoch, one generation after another. Pure.

A rotation brings a new token at once, and a new service accounts' key in three generations: every API server accepts
it; it signs; the old one is no longer accepted. Each is made only once all servers run by the one before, so no token
is ever shown to a server that does not know its key (kubernetes.io: Manual Rotation of CA Certificates). The
authorities' keys stay: what they signed must stay good while servers change one by one.
"""

from __future__ import annotations

import hashlib

import msgspec

from agents.contracts.orders import SiteOrder
from agents.core.errors import Rejected
from edge_commander.secrets.model import SiteSecrets


def ordered(held: SiteSecrets, order: SiteOrder | None) -> bool:
    """Whether that order is to be begun: none after it was, and the generation that it names is still to come."""
    if order is None or order.epoch != held.epoch or order.number <= held.order:
        return False
    return order.generation == 0 or order.generation > held.generation


def following(held: SiteSecrets, number: int, order: int, *, token: str, key: str, public: str) -> SiteSecrets:
    """The generation after `held`, numbered `number`. Where it begins a rotation: for the order of number `order`, with
    the new `token` and `key` (PEM, private). `public`: the public half of the key that signs in `held`. Raises Rejected
    for a number or a secret that is not new."""
    if number <= held.generation:
        raise Rejected(f"generation {number} is not after {held.generation}")
    if held.service_account_next:
        return msgspec.structs.replace(
            held,
            generation=number,
            service_account_key=held.service_account_next,
            service_account_next="",
            service_account_old=public,
        )
    if held.service_account_old:
        return msgspec.structs.replace(held, generation=number, service_account_old="")
    if token == held.token or key == held.service_account_key:
        raise Rejected("a rotation needs another token and another key")
    return msgspec.structs.replace(
        held, generation=number, order=max(order, held.order), token=token, service_account_next=key
    )


def is_due(held: SiteSecrets, order: SiteOrder | None, *, ran_ms: int, now_ms: int, overlap_ms: int) -> bool:
    """Whether the next generation is to be made, once all servers run by `held`. A rotation that was begun goes to its
    end before another begins. `ran_ms`: since when all run by it, Unix ms."""
    if held.service_account_old:  # what the old key signed is in use until it was fetched anew
        return now_ms - ran_ms >= overlap_ms
    return not held.settled or ordered(held, order)


def digest(secrets: SiteSecrets) -> str:
    """What says which secrets a generation is, and tells nobody what they are: SHA-256, hexadecimal."""
    return hashlib.sha256(msgspec.json.encode(secrets)).hexdigest()
