"""Why a trust document is not taken: a closed list of codes. Pure."""

from __future__ import annotations

from enum import StrEnum

from agents.core.jose import SignatureRefused


class TrustCode(StrEnum):
    """Stable, for status, alerts and audit."""

    PAYLOAD = "payload"  # not a roster, or of a version that nobody here knows
    SIGNATURE = "signature"  # wrong, or by a key that may not sign rosters
    SITE = "site"  # the roster of another site
    GENERATION = "generation"  # older than the one that stands
    GENERATION_REUSED = "generation-reused"  # the same number, another content
    EPOCH = "epoch"  # older than the one that stands
    EPOCH_AUTHORISATION = "epoch-authorisation"  # an epoch above 1 without an operator's word for it
    ELECTION = "election"  # changed within an epoch: two who decide may choose two
    MEMBER_DUPLICATE = "member-duplicate"  # a node, name or signing key twice
    MEMBER_KEYS = "member-keys"  # not two public keys on P-256, or one of the two alone
    OWN_KEYS = "own-keys"  # this node's keys in the roster are not its own
    OWN_HARDWARE = "own-hardware"  # this node's entry is for another machine
    KEYS_CHANGED = "keys-changed"  # a known member has other keys, and no newer entry
    KEYS_PINNED = "keys-pinned"  # the entry names other keys
    ENTRY_MISSING = "entry-missing"
    ENTRY_PAYLOAD = "entry-payload"
    ENTRY_SIGNATURE = "entry-signature"  # wrong, or by no operator whose word counts
    ENTRY_SITE = "entry-site"
    ENTRY_NODE = "entry-node"  # for another node, or node and hardware are not of one machine
    ENTRY_MISMATCH = "entry-mismatch"  # name or role are not the entry's
    ENTRY_OLDER = "entry-older"  # a newer one for this node was seen
    ENTRY_EXPIRED = "entry-expired"  # it brings new keys after its end
    ENTRY_WITHDRAWN = "entry-withdrawn"  # an operator took it back
    ORDER_PAYLOAD = "order-payload"  # no order, or one that says nothing that could be done
    ORDER_SIGNATURE = "order-signature"  # wrong, or by nobody whose word counts for it
    ORDER_SITE = "order-site"
    ORDER_EPOCH = "order-epoch"  # for another cluster of the site
    ORDER_NUMBER = "order-number"  # not above the last one
    OPERATORS_PAYLOAD = "operators-payload"
    OPERATORS_KEYS = "operators-keys"  # a document that could not be used
    OPERATORS_GENERATION = "operators-generation"  # not the one that follows
    OPERATORS_SIGNATURE = "operators-signature"
    OPERATORS_THRESHOLD = "operators-threshold"


OPERATORS_CODES = frozenset(code for code in TrustCode if code.value.startswith("operators-"))
"""Of operators' documents."""
ORDER_CODES = frozenset(code for code in TrustCode if code.value.startswith("order-"))
"""Of orders; all others are of rosters and what stands in them."""


class TrustRefused(SignatureRefused):
    """One rule that a document broke. The text names members and numbers, never keys."""

    def __init__(self, code: TrustCode, text: str) -> None:
        super().__init__(text)
        self.code = code
