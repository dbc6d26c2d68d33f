"""The two trust documents, and what they stand on: the payloads that operators and the endpoint sign. Pure.

The endpoint signs a `Roster`; each member of it is backed by a `ShippingEntry` that an operator signed. Operators'
keys stand in an `OperatorsDocument`, signed by the keys of the one before it. Every payload travels as a
`SignedDocument`. Unknown fields are ignored; a `v` above 1 is refused, since nobody here knows what it means.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.identity import MAX_VOTERS, Election, Jwk, Voter
from agents.contracts.ids import NodeId, SiteId
from agents.contracts.messages import Short
from agents.contracts.signed import SignedDocument

Version = Annotated[int, msgspec.Meta(ge=1, le=1)]
Number = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
UnixSeconds = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
OptionalDigest = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")]
Thumbprint = Annotated[str, msgspec.Meta(pattern="^([A-Za-z0-9_-]{43})?$")]
"""RFC 7638 of a key; empty: any key."""

MAX_MEMBERS = 64
MAX_WITHDRAWN = 256


class MemberRole(StrEnum):
    """Whether a node carries the control plane."""

    SERVER = "server"
    WORKER = "worker"


class ShippingEntry(Struct, frozen=True, kw_only=True):
    """An operator's word that this machine belongs to this site, or (`withdrawn`) no longer does.

    `hardware`: see `ids.hardware_digest`; `node` is made of the same digest, so all can check that the two are of
    one machine, and only who knows the hardware id learns it. Empty where the entry is withdrawn.
    `sequence` rises per node: an entry replaces all with a lower one. `expires`: Unix s after which the entry brings
    no new keys; 0: never. `signing`, `sealing`: thumbprints of the only keys that the node may have; empty: those it
    enrols with.
    """

    v: Version = 1
    node: NodeId
    hardware: OptionalDigest = ""
    site: SiteId
    name: Short = ""
    role: MemberRole = MemberRole.SERVER
    proof: Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{0,32}$")] = ""
    sequence: Number
    issued: UnixSeconds
    expires: UnixSeconds = 0
    signing: Thumbprint = ""
    sealing: Thumbprint = ""
    withdrawn: bool = False


class EpochAuthorisation(Struct, frozen=True, kw_only=True):
    """An operator's word that the site may have one more cluster: `epoch` follows `previous`. `restore`: it is made of
    the newest snapshot of an older one, whose data is then taken off the nodes' disks."""

    v: Version = 1
    site: SiteId
    epoch: Annotated[int, msgspec.Meta(ge=2, le=2**31)]
    previous: Annotated[int, msgspec.Meta(ge=1, le=2**31)]
    issued: UnixSeconds
    reason: Short = ""
    restore: bool = False


class RosterMember(Struct, frozen=True, kw_only=True):
    """One node of the signed roster: the fields of `Member`, its role, and the signed ShippingEntry behind it.

    Keys are empty for a node that did not enrol yet. `entry` is None only at a site without signed entries.
    """

    node: NodeId
    name: Short
    address: Short = ""
    signing: Jwk = {}
    sealing: Jwk = {}
    role: MemberRole = MemberRole.SERVER
    entry: SignedDocument | None = None


class Roster(Struct, frozen=True, kw_only=True):
    """Who is of a site, by the endpoint's word. The same `generation` always means the same payload, byte for byte.

    `authorisation`: a signed EpochAuthorisation for this very epoch; None for epoch 1. `withdrawn`: signed entries
    of machines that may no longer be members. `restore`: this epoch's cluster is made of a snapshot; it counts only
    where no operators are known, else their authorisation says it. Left out where it is not so, as no roster that was
    given out may ever read differently.
    """

    v: Version = 1
    site: SiteId
    generation: Number
    epoch: Annotated[int, msgspec.Meta(ge=1, le=2**31)] = 1
    election: Election = Election.CLOUD
    voters: Annotated[list[Voter], msgspec.Meta(max_length=MAX_VOTERS)] = []
    members: Annotated[list[RosterMember], msgspec.Meta(max_length=MAX_MEMBERS)]
    withdrawn: Annotated[list[SignedDocument], msgspec.Meta(max_length=MAX_WITHDRAWN)] = []
    authorisation: SignedDocument | None = None
    restore: bool | msgspec.UnsetType = msgspec.UNSET


class OperatorKey(Struct, frozen=True, kw_only=True):
    """One operator's Ed25519 key. `retired`: Unix s since when it signs nothing new; what it signed with an `issued`
    up to then goes on counting. 0: it signs. A key that may be in wrong hands is removed, never retired."""

    name: Short
    key: Jwk
    retired: UnixSeconds = 0


class OperatorsDocument(Struct, frozen=True, kw_only=True):
    """Whose signatures count. Generation N + 1 is signed by `threshold` keys of generation N that are not retired.

    `roster_keys`: the endpoint's keys (ES256) that may sign rosters; empty: nodes keep to those they learnt first.
    """

    v: Version = 1
    generation: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    keys: Annotated[list[OperatorKey], msgspec.Meta(min_length=1, max_length=100)]
    threshold: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    roster_keys: Annotated[list[Jwk], msgspec.Meta(max_length=8)] = []
