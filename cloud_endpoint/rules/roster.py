"""Who stands in a site's signed roster: shipped devices, their keys, and the entries that operators signed. Pure.

The same store content always gives the same roster: nothing here depends on the time, so one generation is one roster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.contracts.identity import Jwk
from agents.contracts.signed import SignedDocument
from agents.contracts.trust import MAX_MEMBERS, MAX_WITHDRAWN, RosterMember, ShippingEntry
from agents.core.jose import thumbprint
from agents.core.operators import Operators


@dataclass(frozen=True)
class Line:
    """A device of the site that is not revoked. Keys: empty until it enrolled. `enrolled_s`: Unix s."""

    node: str
    name: str
    address: str
    signing: Jwk
    sealing: Jwk
    enrolled_s: int = 0


@dataclass(frozen=True)
class StoredEntry:
    """An entry as it is kept. `kids`: who signed it; the signatures were verified when it came. `bound`: thumbprints of
    the first keys (signing, sealing) that stood beside it: nodes take no others without a newer entry."""

    entry: ShippingEntry
    signed: SignedDocument
    kids: Sequence[str]
    bound: Sequence[str] = ()


def counts(stored: StoredEntry, operators: Operators | None) -> bool:
    """Whether nodes will believe the entry by the newest operators' document."""
    if operators is None or not set(stored.kids) <= operators.keys.keys():
        return False
    return any(operators.counts(kid, stored.entry.issued) for kid in stored.kids)


def members(
    lines: Sequence[Line], entries: Mapping[str, StoredEntry], operators: Operators | None
) -> tuple[list[RosterMember], list[SignedDocument]]:
    """Members by node id, and withdrawn entries by node id.

    Where the site has signed entries, only devices with one that counts and fits are members: one without would make
    every node refuse the whole roster. Where it has none, all are, without an entry.
    """
    good = {node: one for node, one in entries.items() if counts(one, operators)}
    withdrawn = [one.signed for _, one in sorted(good.items()) if one.entry.withdrawn][:MAX_WITHDRAWN]
    found = []
    for line in sorted(lines, key=lambda one: one.node):
        stored = good.get(line.node)
        if not entries:
            found.append(_member(line, None))
        elif stored is not None and fits(stored.entry, line):
            found.append(_member(line, stored))
    return found[:MAX_MEMBERS], withdrawn


def fits(entry: ShippingEntry, line: Line) -> bool:
    """Whether the entry is for this device under this name, with the keys that it may have."""
    if entry.withdrawn or (entry.node, entry.name) != (line.node, line.name):
        return False
    pairs = ((entry.signing, line.signing), (entry.sealing, line.sealing))
    return all(not pinned or not key or thumbprint(key) == pinned for pinned, key in pairs)


def may_have_keys(stored: StoredEntry, line: Line) -> bool:
    """Whether nodes would take the device's keys beside this entry: they came before its end, and are the first."""
    if stored.entry.expires and line.enrolled_s >= stored.entry.expires:
        return False
    return not stored.bound or list(stored.bound) == [thumbprint(line.signing), thumbprint(line.sealing)]


def _member(line: Line, stored: StoredEntry | None) -> RosterMember:
    if stored is None:
        return RosterMember(
            node=line.node, name=line.name, address=line.address, signing=line.signing, sealing=line.sealing
        )
    entry = stored.entry
    keyed = bool(line.signing) and may_have_keys(stored, line)
    return RosterMember(
        node=line.node,
        name=line.name,
        address=line.address,
        signing=line.signing if keyed else {},
        sealing=line.sealing if keyed else {},
        role=entry.role,
        entry=stored.signed,
    )
