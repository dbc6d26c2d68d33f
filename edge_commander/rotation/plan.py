"""The next step of a rotation or a renewal, from what is known. Pure: leaves no choice to who carries it out.

The order that makes it safe: all servers are members, Ready and run by the newest generation before the next is made;
all hold it before the first renews; one renews at a time, in the order of names. So no server ever meets a key that it
does not know, and one that does not come back stops the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.contracts.identity import Member
from agents.contracts.siblings import FormationStatus, Stage
from edge_commander.distribution.port import ClusterMember
from edge_commander.formation.plan import majority
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.renewal import RENEW_AT

URGENT_AT = 5 / 6
"""From this part of its life on, a certificate is renewed also while another server is down: what ends comes sooner
than a person."""


@dataclass(frozen=True)
class Life:
    """Of this node's leaf certificates, Unix ms."""

    begin: int
    end: int

    def is_past(self, part: float, now: int) -> bool:
        """Whether that part of it is over at `now`, Unix ms."""
        return now >= self.begin + (self.end - self.begin) * part


@dataclass(frozen=True)
class Turn:
    """The Lease as it was read, before anybody was asked anything. `holder`: a Node's name, empty while it is free.
    `epoch`, `generation`, `digest`: the newest generation that somebody made, and what it is."""

    holder: str = ""
    epoch: int = 0
    generation: int = 0
    digest: str = ""


@dataclass(frozen=True)
class Facts:
    """What is known now. `answers`: what siblings said after `turn` was read, by node id; `members`: of the cluster.

    `holds`, `runs`, `renewing`: this node's own, as FormationStatus has them. `due`: another generation is to be made,
    once all run by this one. `active`: one is ordered or under way. `upgrading`, `wiping`: a Node that is now.
    `clock`: NOTHING, or why it cannot be trusted. `life`: of this node's certificates; None: not known. `wanted`: a
    command wants them renewed though they have long to live.
    """

    me: str
    epoch: int
    roster: Sequence[Member]
    turn: Turn
    answers: Mapping[str, FormationStatus]
    members: Sequence[ClusterMember]
    holds: int
    runs: int
    renewing: bool
    due: bool
    active: bool
    upgrading: str = ""
    wiping: str = ""
    now_ms: int = 0
    clock: Reason = NOTHING
    life: Life | None = None
    wanted: bool = False

    @property
    def name(self) -> str:
        """This node's in Kubernetes."""
        return next(one.name for one in self.roster if one.node == self.me)

    def said(self, node: str) -> tuple[int, int]:
        """What a server holds and runs by; zeros where it did not answer."""
        if node == self.me:
            return self.holds, self.runs
        answer = self.answers.get(node)
        return (answer.holds, answer.runs) if answer is not None and answer.epoch == self.epoch else (0, 0)


@dataclass(frozen=True)
class Rest:
    """Nothing is to be done; `reason` where this node itself is behind."""

    reason: Reason = NOTHING


@dataclass(frozen=True)
class Fetch:
    """Get the newest generation from one of these siblings; nothing of the cluster restarts."""

    holders: tuple[str, ...]


@dataclass(frozen=True)
class Make:
    """Make the next generation, numbered so, and tell the Lease."""

    number: int


@dataclass(frozen=True)
class Renew:
    """Take the turn, then renew this node's certificates by what it holds."""


Step = Rest | Fetch | Make | Renew


def next_step(facts: Facts) -> Step:
    """The one thing to do now. First rule that fits."""
    newest = max(facts.said(one.node)[0] for one in facts.roster)
    if facts.holds < newest:
        return Fetch(tuple(sorted(node for node in facts.answers if facts.said(node)[0] == newest)))
    if not (facts.active or _behind(facts) or _is_time(facts)):
        return Rest()
    if facts.clock != NOTHING:
        return Rest(facts.clock)
    if (
        facts.runs == newest
        and not (facts.upgrading or facts.wiping)
        and _ends(facts, URGENT_AT)
        and _most_are_well(facts)
    ):
        return _renew(facts)
    late = [one.name for one in facts.roster if facts.said(one.node)[0] < newest]
    if what := _ill(facts) or (f"{min(late)} has not got generation {newest} yet" if late else ""):
        concerned = facts.name == _first(facts) or _behind(facts) or _is_time(facts)
        return _wait(what) if concerned else Rest()
    return _among_well(facts, newest)


def _behind(facts: Facts) -> bool:
    return facts.runs < facts.holds or facts.renewing


def _among_well(facts: Facts, newest: int) -> Step:
    """All are well and hold the newest generation."""
    if facts.renewing or any(facts.said(one.node)[1] < newest for one in facts.roster):
        return _in_turn(facts, newest)
    if _is_time(facts):
        return _renew(facts)
    return _making(facts) if facts.due else Rest()


def _in_turn(facts: Facts, newest: int) -> Step:
    left = sorted(one.name for one in facts.roster if facts.said(one.node)[1] < newest)
    if facts.renewing or left[0] == facts.name:
        return _renew(facts)
    return _wait(f"{left[0]} is before this node") if facts.name in left else Rest()


def _renew(facts: Facts) -> Step:
    """Only where nobody else is at it. A holder that says it is not renewing ended, and could not let go; it said so
    after the Lease was read, and whoever renews has taken the Lease before."""
    holder = facts.turn.holder
    node = next((one.node for one in facts.roster if one.name == holder), None)
    if holder in ("", facts.name) or node is None:
        return Renew()
    answer = facts.answers.get(node)
    return Renew() if answer is not None and not answer.renewing else _wait(f"{holder} renews")


def _making(facts: Facts) -> Step:
    """The first by name makes it. Of what the Lease knows and no server has, the number is not used again."""
    if facts.name != _first(facts):
        return Rest()
    known = facts.turn.generation if facts.turn.epoch == facts.epoch else 0
    return Make(max(known, facts.holds) + 1)


def _first(facts: Facts) -> str:
    return min(one.name for one in facts.roster)


def _is_time(facts: Facts) -> bool:
    """Whether this node's certificates are to be renewed, though no generation changed."""
    return facts.wanted or _ends(facts, RENEW_AT)


def _ends(facts: Facts, part: float) -> bool:
    return facts.life is not None and facts.clock == NOTHING and facts.life.is_past(part, facts.now_ms)


def _ill(facts: Facts) -> str:
    """A server because of which nothing is begun; empty where all are well: there, members, Ready."""
    if facts.upgrading:
        return f"{facts.upgrading} is upgraded"
    if facts.wiping:
        return f"{facts.wiping} is being wiped"
    ready = {one.name for one in facts.members if one.ready and one.server}
    for one in sorted(facts.roster, key=lambda member: member.name):
        if one.node != facts.me:
            answer = facts.answers.get(one.node)
            if answer is None:
                return f"{one.name} does not answer"
            if answer.epoch != facts.epoch or answer.stage is not Stage.MEMBER:
                return f"{one.name} is not a member yet"
        if one.name not in ready:
            return f"{one.name} is not Ready"
    return ""


def _most_are_well(facts: Facts) -> bool:
    """Whether the cluster can do without this node for a moment, as far as it can be had."""
    servers = [one for one in facts.members if one.server]
    others = sum(one.ready for one in servers if one.name != facts.name)
    return len(servers) == 1 or others + 1 >= majority(len(servers))


def _wait(text: str) -> Rest:
    return Rest(Reason(Why.TURN, f"rotation: {text}"))
