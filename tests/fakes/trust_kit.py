"""A site of three nodes with operators, keys, entries and a roster, of which tests change one thing at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from agents.contracts.identity import SiteDocument
from agents.contracts.ids import hardware_digest, node_id
from agents.contracts.orders import OrderKind, SiteOrder
from agents.contracts.signed import SignedDocument
from agents.contracts.trust import (
    Election,
    EpochAuthorisation,
    MemberRole,
    OperatorKey,
    OperatorsDocument,
    Roster,
    RosterMember,
    ShippingEntry,
)
from agents.core.entries import sign_authorisation, sign_entry
from agents.core.jose import SoftwareKey, thumbprint
from agents.core.operators import Operators, operators_of, sign_operators
from agents.core.orders import ORDER_TYPE
from agents.core.signed import sign_document
from agents.core.trust import Known, Own, TrustPolicy, VerifiedRoster, sign_roster, verify_roster

SITE = "store-1"
NOW = 1_800_000_000
DAY = 86400
ALICE, BOB, MALLORY = (SoftwareKey.generate("Ed25519") for _ in range(3))
ENDPOINT, OTHER_ENDPOINT = SoftwareKey.generate(), SoftwareKey.generate()


class Box:
    """One machine: its hardware id, node id, keys."""

    def __init__(self, number: int) -> None:
        self.hardware = f"NUC-{number}"
        self.node = node_id(self.hardware)
        self.name = f"kitchen-{number}"
        self.address = f"192.0.2.{number}"
        self.signing, self.sealing = SoftwareKey.generate(), SoftwareKey.generate()

    def own(self) -> Own:
        return Own(self.node, hardware_digest(self.hardware), self.signing.public, self.sealing.public)

    def entry(self, **changed: Any) -> ShippingEntry:
        fields: dict[str, Any] = {
            "node": self.node, "hardware": hardware_digest(self.hardware), "site": SITE, "name": self.name,
            "role": MemberRole.SERVER, "proof": "code", "sequence": 10, "issued": NOW - DAY,
        }  # fmt: skip
        return ShippingEntry(**{**fields, **changed})

    def member(self, entry: SignedDocument | None = None, **changed: Any) -> RosterMember:
        fields: dict[str, Any] = {
            "node": self.node, "name": self.name, "address": self.address, "signing": self.signing.public,
            "sealing": self.sealing.public, "entry": entry or sign_entry(self.entry(), ALICE),
        }  # fmt: skip
        return RosterMember(**{**fields, **changed})


BOXES = [Box(1), Box(2), Box(3)]
STRANGER = Box(9)


def raw_entry(entry: ShippingEntry, key: SoftwareKey = ALICE) -> SignedDocument:
    """Signed whatever it says, as a program that is not ours could."""
    from agents.core.entries import ENTRY_TYPE

    return sign_document(entry, [key], ENTRY_TYPE)


def operators_document(generation: int = 1, **changed: Any) -> OperatorsDocument:
    fields: dict[str, Any] = {"generation": generation, "keys": [OperatorKey(name="alice", key=ALICE.public)]}
    return OperatorsDocument(**{**fields, **changed})


def operators(**changed: Any) -> Operators:
    return operators_of(operators_document(**changed))


def chained(document: OperatorsDocument, *signers: SoftwareKey) -> SignedDocument:
    return sign_operators(document, signers or [ALICE])


def roster(generation: int = 5, members: Sequence[RosterMember] | None = None, **changed: Any) -> Roster:
    found = [box.member() for box in BOXES] if members is None else list(members)
    fields: dict[str, Any] = {"site": SITE, "generation": generation, "election": Election.CLOUD, "members": found}
    return Roster(**{**fields, **changed})


def with_member(base: Roster, index: int, **changed: Any) -> Roster:
    members = list(base.members)
    members[index] = msgspec.structs.replace(members[index], **changed)
    return msgspec.structs.replace(base, members=members)


def authorisation(epoch: int = 2, key: SoftwareKey = ALICE, **changed: Any) -> SignedDocument:
    fields: dict[str, Any] = {"site": SITE, "epoch": epoch, "previous": epoch - 1, "issued": NOW, "reason": "rebuilt"}
    return sign_authorisation(EpochAuthorisation(**{**fields, **changed}), key)


def site_order(number: int = 10, **changed: Any) -> SiteOrder:
    fields: dict[str, Any] = {
        "site": SITE, "epoch": 1, "kind": OrderKind.UPGRADE, "number": number, "version": "1.36.3", "issued_at": NOW,
    }  # fmt: skip
    return SiteOrder(**{**fields, **changed})


def raw_order(order: SiteOrder, key: SoftwareKey = ALICE) -> SignedDocument:
    """Signed whatever it says, as a program that is not ours could."""
    return sign_document(order, [key], ORDER_TYPE)


def judge(signed: SignedDocument | Roster, **changed: Any) -> VerifiedRoster:
    """Verifies as a node of the site with nothing seen before; `changed` replaces arguments."""
    if isinstance(signed, Roster):
        signed = sign_roster(signed, ENDPOINT)
    arguments: dict[str, Any] = {
        "keys": {thumbprint(ENDPOINT.public): ENDPOINT.public}, "operators": operators(),
        "policy": TrustPolicy.OPERATORS, "site": SITE, "known": Known(), "own": BOXES[0].own(), "now": NOW,
    }  # fmt: skip
    return verify_roster(signed, **{**arguments, **changed})


def site_document(signed: SignedDocument | Roster | None, **changed: Any) -> SiteDocument:
    """What an endpoint answers to the first box."""
    if isinstance(signed, Roster):
        signed = sign_roster(signed, ENDPOINT)
    fields: dict[str, Any] = {
        "generation": 5, "site": SITE, "node": BOXES[0].node, "labels": {}, "roster": [], "endpoints": [],
        "roster_jws": signed, "roster_keys": [ENDPOINT.public],
    }  # fmt: skip
    return SiteDocument(**{**fields, **changed})


Change = Callable[[Roster], Roster]
