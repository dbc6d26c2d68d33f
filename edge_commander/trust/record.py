"""What a node believes of its site, and what of an endpoint's answer it takes. Pure.

Everything is derived from the configuration (first operators' document, policy, pinned roster keys) and one durable
record: a chain of operators' documents, the last roster, and what was ever seen of members. Both are verified anew
at each start, so a record that the configuration no longer backs counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from agents.contracts.identity import Jwk, SiteDocument
from agents.contracts.ids import SiteId
from agents.contracts.orders import SiteOrder
from agents.contracts.signed import SignedDocument
from agents.core.jose import SignatureRefused
from agents.core.operators import Operators, follow, roster_key_table
from agents.core.orders import verify_order
from agents.core.trust import Known, Own, TrustPolicy, VerifiedRoster, verify_roster
from agents.core.trust_codes import OPERATORS_CODES, TrustCode, TrustRefused
from edge_commander.trust.orders import Judge, OrderBook, standing, taken


class TrustRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The durable record (`trust.json` on ident). `chain`: operators' documents after the configuration's, ascending.

    `learnt`: the roster keys that the first roster came with. `known` outlives every roster. `reported`: codes of
    refusals that were alerted since the last roster that was taken. `orders`: of operators, to this site.
    """

    site: SiteId | None = None
    chain: list[SignedDocument] = []
    roster: SignedDocument | None = None
    learnt: list[Jwk] = []
    known: Known = Known()
    reported: list[str] = []
    orders: OrderBook = OrderBook()


@dataclass(frozen=True)
class Basis:
    """What came with the configuration. `root` None: no operators are known, then the policy must be `endpoint`.
    `pinned`: the only roster keys, by thumbprint, unless operators name some."""

    policy: TrustPolicy
    root: Operators | None = None
    pinned: Mapping[str, Jwk] = field(default_factory=dict)


@dataclass(frozen=True)
class Belief:
    """What follows from basis and record. `refused`: what was not taken, or no longer counts, and why. `orders`: the
    operators' orders that count for the roster's site and epoch."""

    record: TrustRecord
    operators: Operators | None
    roster: VerifiedRoster | None
    refused: tuple[TrustRefused, ...] = ()
    orders: tuple[SiteOrder, ...] = ()


def believe(basis: Basis, record: TrustRecord) -> Belief:
    """The belief at a start: chain and roster, verified anew."""
    operators, refused = basis.root, list[TrustRefused]()
    if basis.root is not None:
        operators, chain, problem = follow(basis.root, record.chain)
        if problem is not None:
            refused.append(problem)
        record = msgspec.structs.replace(record, chain=chain)
    roster, problem = _standing(basis, record, operators)
    if problem is not None:
        refused.append(problem)
    return _with_orders(basis, Belief(record, operators, roster, tuple(refused)), [])


def take(basis: Basis, now_held: Belief, document: SiteDocument, own: Own, now: int) -> Belief:
    """The belief after an endpoint's site document: what is good of it is taken, the rest leaves all as it was.

    `now`: Unix s. Operators' documents first, since the roster is judged by the newest of them, and orders by it.
    """
    belief = _take_roster(basis, now_held, document, own, now)
    if belief.record.site != now_held.record.site:  # numbers count within a site
        belief = replace(belief, record=msgspec.structs.replace(belief.record, orders=OrderBook()))
    return _with_orders(basis, belief, document.orders)


def _with_orders(basis: Basis, belief: Belief, offered: list[SignedDocument]) -> Belief:
    """The same with the orders that count; those of `offered` that are good are taken. None without a roster."""
    judge = _judge(basis, belief)
    if judge is None:
        return belief
    book, refused = taken(belief.record.orders, offered, judge)
    record = belief.record
    if book != record.orders:
        record = msgspec.structs.replace(record, orders=book)
    return replace(belief, record=record, refused=(*belief.refused, *refused), orders=standing(book, judge))


def _judge(basis: Basis, belief: Belief) -> Judge | None:
    record, roster = belief.record, belief.roster
    if roster is None or record.site is None:
        return None
    site, epoch, (keys, _) = record.site, roster.roster.epoch, _roster_keys(basis, record, belief.operators, [])

    def judge(signed: SignedDocument, after: int) -> SiteOrder:
        return verify_order(
            signed,
            operators=belief.operators,
            policy=basis.policy,
            roster_keys=keys,
            site=site,
            epoch=epoch,
            after=after,
        )

    return judge


def _take_roster(basis: Basis, now_held: Belief, document: SiteDocument, own: Own, now: int) -> Belief:
    record, operators, roster = now_held.record, now_held.operators, now_held.roster
    refused = list[TrustRefused]()
    if operators is not None:
        operators, taken, problem = follow(operators, document.operators)
        if problem is not None:
            refused.append(problem)
        if taken:
            record = _counting(basis, record, now_held.operators, operators)
            record = msgspec.structs.replace(record, chain=[*record.chain, *taken])
            roster = None
    if roster is None:
        roster, problem = _standing(basis, record, operators)
        if problem is not None:
            refused.append(problem)
    signed = document.roster_jws
    if signed is None or (roster is not None and record.roster is not None and signed.payload == record.roster.payload):
        return Belief(record, operators, roster, tuple(refused))
    try:
        keys, learnt = _roster_keys(basis, record, operators, document.roster_keys)
        roster = verify_roster(
            signed,
            keys=keys,
            operators=operators,
            policy=basis.policy,
            site=document.site,
            known=_of_site(record, document.site),
            own=own,
            now=now,
        )
    except TrustRefused as error:
        return Belief(record, operators, roster, (*refused, error))
    left = tuple(one for one in refused if one.code in OPERATORS_CODES)  # what was said of the old roster is over
    record = msgspec.structs.replace(
        record,
        site=document.site,
        roster=signed,
        learnt=learnt,
        known=roster.known,
        reported=[one.code.value for one in left if one.code.value in record.reported],
    )
    return Belief(record, operators, roster, left)


def _standing(
    basis: Basis, record: TrustRecord, operators: Operators | None
) -> tuple[VerifiedRoster | None, TrustRefused | None]:
    """The stored roster, judged again. Its place in time was judged when it came."""
    if record.roster is None or record.site is None:
        return None, None
    try:
        keys, _ = _roster_keys(basis, record, operators, [])
        found = verify_roster(
            record.roster,
            keys=keys,
            operators=operators,
            policy=basis.policy,
            site=record.site,
            known=record.known,
            own=None,
            now=0,
        )
    except TrustRefused as refused:
        return None, refused
    return found, None


def _roster_keys(
    basis: Basis, record: TrustRecord, operators: Operators | None, offered: list[Jwk]
) -> tuple[Mapping[str, Jwk], list[Jwk]]:
    """Who may sign rosters, and what is learnt for good when one of them did. Operators' word goes before the
    configuration's, that before what was learnt; the endpoint's own word counts once, when there is none yet."""
    if operators is not None and operators.roster_keys:
        return operators.roster_keys, record.learnt
    if basis.pinned:
        return basis.pinned, record.learnt
    learnt = record.learnt or offered
    try:
        return roster_key_table(learnt), learnt
    except SignatureRefused as error:
        raise TrustRefused(TrustCode.SIGNATURE, f"the offered roster keys: {error.cause}") from None


def _counting(basis: Basis, record: TrustRecord, before: Operators | None, after: Operators) -> TrustRecord:
    """Where operators give the rosters to other keys altogether, generations are counted anew: those who held the old
    keys may have used up every number, and none of their rosters counts any more."""
    try:
        old, new = (_roster_keys(basis, record, one, [])[0] for one in (before, after))
    except TrustRefused:
        return record
    if not old or old.keys() & new.keys():
        return record
    return msgspec.structs.replace(record, known=msgspec.structs.replace(record.known, generation=0))


def _of_site(record: TrustRecord, site: str) -> Known:
    """What was seen of this site; of another one, where the node was moved after a wipe, nothing."""
    return record.known if record.site in (None, site) else Known()
