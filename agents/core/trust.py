"""Signed rosters: who is of a site, judged against operators' entries and against what was seen before. Pure.

A stolen endpoint holds the roster's key. So its word alone adds nobody (each member needs an entry that an operator
signed), gives no known member other keys, goes back to no older state and starts no second cluster. What it still can
do stands in docs/decisions/0023-two-trust-documents.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import msgspec

from agents.contracts.identity import Election, Jwk, Member
from agents.contracts.signed import SignedDocument
from agents.contracts.trust import MemberRole, Roster, RosterMember, ShippingEntry
from agents.core.entries import verify_authorisation, verify_entry
from agents.core.jose import SignatureRefused, Signer, canonical, thumbprint
from agents.core.operators import Operators
from agents.core.signed import read_payload, sign_document, signers_of
from agents.core.trust_codes import TrustCode, TrustRefused

ROSTER_TYPE = "galley-roster+jws"


class TrustPolicy(StrEnum):
    """Whose word makes a member. `endpoint`: a trial site without operators' entries."""

    OPERATORS = "operators"
    ENDPOINT = "endpoint"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a node for ever. `sequence`: its newest entry; `withdrawn`: that one took it away.

    `signing`, `sealing`: thumbprints of its last keys; `keyed`: the newest entry that they stood beside.
    """

    sequence: Annotated[int, msgspec.Meta(ge=0)] = 0
    withdrawn: bool = False
    signing: str = ""
    sealing: str = ""
    keyed: Annotated[int, msgspec.Meta(ge=0)] = 0


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What a judge has seen of a site's rosters. `digest`: of the last one taken; empty before the first."""

    generation: Annotated[int, msgspec.Meta(ge=0)] = 0
    epoch: Annotated[int, msgspec.Meta(ge=0)] = 0
    election: Election = Election.CLOUD
    digest: str = ""
    seen: dict[str, Seen] = {}


@dataclass(frozen=True)
class Own:
    """This node, as it knows itself. `hardware`: see ids.hardware_digest; keys are public."""

    node: str
    hardware: str
    signing: Jwk
    sealing: Jwk


@dataclass(frozen=True)
class VerifiedRoster:
    """A roster that every rule held for. `digest`: SHA-256 in hex of the signed payload: equal for all who took the
    same roster, so siblings can tell that they were told the same. `known`: what to remember of it. `restore`: its
    epoch's cluster is made of a snapshot, by the operators' word where there are any."""

    roster: Roster
    digest: str
    known: Known
    entries: Mapping[str, ShippingEntry] = field(default_factory=dict)
    restore: bool = False

    def member(self, node: str) -> RosterMember | None:
        """One member, by node id."""
        return next((one for one in self.roster.members if one.node == node), None)

    def allowed(self, node: str, signing: Jwk) -> bool:
        """Whether who proved to hold this signing key (public) may speak as this node. False for a malformed key."""
        found = self.member(node)
        if found is None or not found.signing:
            return False
        try:
            return thumbprint(canonical(signing)) == thumbprint(found.signing)
        except SignatureRefused:
            return False

    def members(self) -> list[Member]:
        """All of them as the site document names members; keys are empty for those that did not enrol yet."""
        return [as_member(one) for one in self.roster.members]

    def servers(self) -> list[Member]:
        """Those that carry the control plane."""
        return [as_member(one) for one in self.roster.members if one.role is MemberRole.SERVER]


def as_member(one: RosterMember) -> Member:
    """The same without role and entry."""
    return Member(node=one.node, name=one.name, address=one.address, signing=one.signing, sealing=one.sealing)


def sign_roster(roster: Roster, signer: Signer) -> SignedDocument:
    """Signed by the endpoint's roster key."""
    return sign_document(roster, [signer], ROSTER_TYPE)


def verify_roster(
    signed: SignedDocument,
    *,
    keys: Mapping[str, Jwk],
    operators: Operators | None,
    policy: TrustPolicy,
    site: str,
    known: Known,
    own: Own | None,
    now: int,
) -> VerifiedRoster:
    """The roster, where every rule holds; raises TrustRefused.

    `keys`: those that may sign rosters, by thumbprint. `operators` None: none are known, then the policy must be
    `endpoint`. `known`: what was seen before. `own` None: the judge is no member. `now`: Unix s.
    """
    try:
        signers_of(signed.payload, signed.signatures, keys, ROSTER_TYPE)
    except SignatureRefused as error:
        raise TrustRefused(TrustCode.SIGNATURE, error.cause) from None
    try:
        roster = read_payload(signed, Roster)
    except SignatureRefused as error:
        raise TrustRefused(TrustCode.PAYLOAD, error.cause) from None
    digest = roster_digest(signed)
    _check_order(roster, digest, site, known)
    restore = roster.restore is True
    if operators is not None:
        restore = (
            roster.epoch > 1
            and verify_authorisation(roster.authorisation, operators, site=site, epoch=roster.epoch).restore
        )
    members = list(_canonical_members(roster))
    _check_duplicates(members)
    entries: dict[str, ShippingEntry] = {}
    withdrawn: list[ShippingEntry] = []
    if policy is TrustPolicy.OPERATORS:
        assert operators is not None, "the policy operators needs operators' keys"
        entries = {one.node: _entry(one, operators, site) for one in members}
        withdrawn = _withdrawn(roster, operators, site)
    if own is not None:
        _check_own(own, members, entries)
    seen = _judge(members, entries, withdrawn, known, now)
    taken = Known(generation=roster.generation, epoch=roster.epoch, election=roster.election, digest=digest, seen=seen)
    return VerifiedRoster(msgspec.structs.replace(roster, members=members), digest, taken, entries, restore)


def roster_digest(signed: SignedDocument) -> str:
    """SHA-256 of the payload's text, hex."""
    return hashlib.sha256(signed.payload.encode()).hexdigest()


def _check_order(roster: Roster, digest: str, site: str, known: Known) -> None:
    if roster.site != site:
        raise TrustRefused(TrustCode.SITE, f"the roster is {roster.site}'s")
    if roster.generation < known.generation:
        text = f"generation {roster.generation} is older than {known.generation}"
        raise TrustRefused(TrustCode.GENERATION, text)
    if roster.generation == known.generation and digest != known.digest:
        text = f"generation {roster.generation} was another roster before"
        raise TrustRefused(TrustCode.GENERATION_REUSED, text)
    if roster.epoch < known.epoch:
        raise TrustRefused(TrustCode.EPOCH, f"epoch {roster.epoch} is older than {known.epoch}")
    if roster.epoch == known.epoch and roster.election is not known.election:
        text = f"epoch {roster.epoch} is decided {known.election.value}, and stays so"
        raise TrustRefused(TrustCode.ELECTION, text)


def _canonical_members(roster: Roster) -> Iterator[RosterMember]:
    """Members with checked keys: both, on P-256, or none."""
    for one in roster.members:
        if not one.signing and not one.sealing:
            yield one
            continue
        try:
            signing, sealing = canonical(one.signing), canonical(one.sealing)
        except SignatureRefused as error:
            raise TrustRefused(TrustCode.MEMBER_KEYS, f"{one.node}: {error.cause}") from None
        if signing["crv"] != "P-256" or sealing["crv"] != "P-256":
            raise TrustRefused(TrustCode.MEMBER_KEYS, f"{one.node}: its keys must be on P-256")
        yield msgspec.structs.replace(one, signing=signing, sealing=sealing)


def _check_duplicates(members: list[RosterMember]) -> None:
    for what, values in (
        ("node", [one.node for one in members]),
        ("name", [one.name for one in members]),
        ("signing key", [thumbprint(one.signing) for one in members if one.signing]),
    ):
        if len(set(values)) != len(values):
            raise TrustRefused(TrustCode.MEMBER_DUPLICATE, f"two members have the same {what}")


def _entry(member: RosterMember, operators: Operators, site: str) -> ShippingEntry:
    """The member's entry, for this site, this node, its name and its role."""
    if member.entry is None:
        raise TrustRefused(TrustCode.ENTRY_MISSING, f"{member.node} has no shipping entry that an operator signed")
    entry = verify_entry(member.entry, operators)
    if entry.node != member.node:
        raise TrustRefused(TrustCode.ENTRY_NODE, f"{member.node}: the entry is for {entry.node}")
    if entry.site != site:
        raise TrustRefused(TrustCode.ENTRY_SITE, f"{member.node}: the entry is for another site")
    if entry.withdrawn:
        raise TrustRefused(TrustCode.ENTRY_WITHDRAWN, f"{member.node}: an operator withdrew it")
    if (entry.name, entry.role) != (member.name, member.role):
        raise TrustRefused(TrustCode.ENTRY_MISMATCH, f"{member.node}: name and role must be those of its entry")
    for pinned, key in ((entry.signing, member.signing), (entry.sealing, member.sealing)):
        if pinned and key and pinned != thumbprint(key):
            raise TrustRefused(TrustCode.KEYS_PINNED, f"{member.node}: its entry names other keys")
    return entry


def _withdrawn(roster: Roster, operators: Operators, site: str) -> list[ShippingEntry]:
    found = []
    for signed in roster.withdrawn:
        entry = verify_entry(signed, operators)
        if entry.site != site or not entry.withdrawn:
            raise TrustRefused(TrustCode.ENTRY_SITE, f"{entry.node}: no withdrawal of this site")
        found.append(entry)
    return found


def _judge(
    members: list[RosterMember],
    entries: Mapping[str, ShippingEntry],
    withdrawn: list[ShippingEntry],
    known: Known,
    now: int,
) -> dict[str, Seen]:
    """What is remembered after this roster; raises where a member contradicts what is."""
    seen = dict(known.seen)
    for entry in withdrawn:
        before = seen.get(entry.node, Seen())
        if entry.sequence > before.sequence:
            seen[entry.node] = msgspec.structs.replace(before, sequence=entry.sequence, withdrawn=True)
    first = not known.digest
    listed = {member.node for member in members}
    # Under the policy `endpoint` anybody may be named: strangers that left again must not fill the memory.
    seen = {node: one for node, one in seen.items() if one.sequence or node in listed}
    for member in members:
        found = entries.get(member.node)
        before = seen.get(member.node, Seen())
        seen[member.node] = _keyless(found, before) if not member.signing else _keyed(member, found, before, first, now)
    return seen


def _keyless(entry: ShippingEntry | None, before: Seen) -> Seen:
    if entry is None:
        return before
    _check_sequence(entry, before)
    return msgspec.structs.replace(before, sequence=entry.sequence, withdrawn=False)


def _keyed(member: RosterMember, entry: ShippingEntry | None, before: Seen, first: bool, now: int) -> Seen:
    kids = thumbprint(member.signing), thumbprint(member.sealing)
    same = kids == (before.signing, before.sealing)
    if entry is None:  # policy `endpoint`: its word is all there is
        return msgspec.structs.replace(before, signing=kids[0], sealing=kids[1])
    _check_sequence(entry, before)
    if not same and before.signing and entry.sequence <= before.keyed:
        text = f"{member.node} has other keys than before, and no newer entry of an operator"
        raise TrustRefused(TrustCode.KEYS_CHANGED, text)
    if not same and not first and entry.expires and now >= entry.expires:
        raise TrustRefused(TrustCode.ENTRY_EXPIRED, f"{member.node}: its entry ended before its keys came")
    return Seen(sequence=entry.sequence, signing=kids[0], sealing=kids[1], keyed=entry.sequence)


def _check_sequence(entry: ShippingEntry, before: Seen) -> None:
    if before.withdrawn and entry.sequence <= before.sequence:
        raise TrustRefused(TrustCode.ENTRY_WITHDRAWN, f"{entry.node}: an operator withdrew it")
    if entry.sequence < before.sequence:
        raise TrustRefused(TrustCode.ENTRY_OLDER, f"{entry.node}: a newer entry was seen")


def _check_own(own: Own, members: list[RosterMember], entries: Mapping[str, ShippingEntry]) -> None:
    mine = next((one for one in members if one.node == own.node), None)
    if mine is None:
        return
    entry = entries.get(own.node)
    if entry is not None and entry.hardware != own.hardware:
        raise TrustRefused(TrustCode.OWN_HARDWARE, f"{own.node}: its entry is for another machine")
    if mine.signing and [thumbprint(mine.signing), thumbprint(mine.sealing)] != [
        thumbprint(own.signing),
        thumbprint(own.sealing),
    ]:
        raise TrustRefused(TrustCode.OWN_KEYS, f"{own.node}: the roster gives this node keys that are not its own")
