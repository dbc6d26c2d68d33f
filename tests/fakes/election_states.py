"""Every state that three boxes can reach with two of them proposing, by breadth-first search over the real code.

The network is a set of messages that were ever sent: each may arrive at any time, in any order, again and again, or
never. So loss, delay, doubling and reordering are all in it; a crash of a proposer is a new ballot begun from
its disk. Left out is what cannot matter: a refusal (silence does the same), an answer to a ballot that its proposer
gave up or has counted already, and the hints by which a proposer skips rounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from agents.contracts.election import ElectionAnswer, ElectionRequest, Learn, Prepare, Query, Verdict, Vote
from agents.contracts.identity import Voter
from edge_commander.election import acceptor, proposer
from edge_commander.election.acceptor import BORN, AcceptorState
from edge_commander.election.electorate import Self
from edge_commander.election.proposer import Proposal
from tests.fakes.election_world import NODES, OFFLINE, SITE, Broken, Rules, kid

BOXES = tuple(Self(SITE, node, kid(node, 0)) for node in NODES[:3])
VOTERS = tuple(Voter(node=me.node, kid=me.kid) for me in BOXES)


@dataclass(frozen=True)
class Note:
    """A message: box `source` asks `target`; with `said`: the answer to it, which `target` gave."""

    source: int
    target: int
    asked: ElectionRequest
    said: ElectionAnswer | None = None


@dataclass(frozen=True)
class State:
    """`ballots`, `losses`: how many may still be begun, and how many boxes may still lose their memory. `votes`: each
    ever given."""

    disks: tuple[AcceptorState, ...]
    proposals: tuple[Proposal | None, ...]
    sent: frozenset[Note]
    votes: frozenset[tuple[int, Vote]]
    ballots: tuple[int, ...]
    losses: int


class Explorer:
    """`explore` returns the number of states, each of them checked; raises Broken."""

    def __init__(
        self, ballots: tuple[int, ...] = (2, 1, 0), losses: int = 0, rules: Rules | None = None, *, tell: bool = True
    ) -> None:
        self.rules, self.tell = rules or Rules(), tell
        begun = self.rules.adopt(BORN, 1, OFFLINE, VOTERS)
        self.first = State((begun,) * 3, (None,) * 3, frozenset(), frozenset(), ballots, losses)
        self.answer = lru_cache(maxsize=None)(self.rules.answer)
        self.step = lru_cache(maxsize=None)(self.rules.step)

    def explore(self, limit: int = 2_000_000) -> int:
        """All states, or Broken at the first bad one."""
        seen, front = {self.first}, [self.first]
        while front:
            following: list[State] = []
            for state in front:
                for one in self.steps(state):
                    if one not in seen:
                        check(one)
                        seen.add(one)
                        following.append(one)
            assert len(seen) <= limit, "the state space is larger than this test means to walk"
            front = following
        return len(seen)

    def steps(self, state: State) -> Iterator[State]:
        for box in range(3):
            if state.ballots[box] and state.disks[box].decided is None and not state.disks[box].is_barred:
                ballots = put(state.ballots, box, state.ballots[box] - 1)
                proposal = self.rules.begin(state.disks[box], BOXES[box], 0)
                begun = replace(state, proposals=put(state.proposals, box, proposal), ballots=ballots)
                yield self._advance(begun, box)
            if state.losses:
                lost = self.rules.adopt(self.rules.without_memory(1), 1, OFFLINE, VOTERS)
                yield replace(
                    state,
                    disks=put(state.disks, box, lost),
                    proposals=put(state.proposals, box, None),
                    losses=state.losses - 1,
                )
        for note in state.sent:
            after = self._asked(state, note) if note.said is None else self._answered(state, note)
            if after is not state:
                yield tidy(after)

    def _advance(self, state: State, box: int) -> State:
        """The own acceptor first, then the others; a decision is learnt and told."""
        one, me = state.proposals[box], BOXES[box]
        assert one is not None
        for _ in range(2):
            if one.ended:
                break
            asked = proposer.request(one)
            disk, said = self.answer(state.disks[box], me, me.node, asked)
            state = voted(state, box, disk)
            one = self.step(one, me.node, asked, said)
            state = replace(state, sent=state.sent | {Note(box, other, asked) for other in range(3) if other != box})
            if proposer.request(one) == asked:
                break
        if one.decided is not None:
            disk = acceptor.learn(state.disks[box], 1, one.decided)
            state = replace(state, disks=put(state.disks, box, disk))
            if self.tell and disk.decided is not None:
                told = proposer.announcement(disk, me)
                state = replace(state, sent=state.sent | {Note(box, other, told) for other in range(3) if other != box})
        return tidy(replace(state, proposals=put(state.proposals, box, one)))

    def _asked(self, state: State, note: Note) -> State:
        disk, said = self.answer(state.disks[note.target], BOXES[note.target], NODES[note.source], note.asked)
        useful = said.verdict is Verdict.OK or said.decided is not None
        if useful and not isinstance(note.asked, Learn):
            told = Note(note.source, note.target, note.asked, said)
            if counts(state, told) and told not in state.sent:
                state = replace(state, sent=state.sent | {told})
        return voted(state, note.target, disk)

    def _answered(self, state: State, note: Note) -> State:
        one = state.proposals[note.source]
        if one is None or note.said is None or isinstance(note.asked, (Learn, Query)):
            return state
        after = replace(self.step(one, NODES[note.target], note.asked, note.said), round_seen=0, refusals=frozenset())
        if after == one:
            return state
        moved = replace(state, proposals=put(state.proposals, note.source, after))
        on = after.decided is not None or proposer.request(after) != proposer.request(one)
        return self._advance(moved, note.source) if on else moved


def put(values: tuple, index: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*values[:index], value, *values[index + 1 :])


def voted(state: State, box: int, disk: AcceptorState) -> State:
    if disk == state.disks[box]:
        return state
    votes = state.votes if disk.accepted is None else state.votes | {(box, disk.accepted)}
    return replace(state, disks=put(state.disks, box, disk), votes=votes)


def counts(state: State, note: Note) -> bool:
    """Whether the answer can still move its proposer."""
    one = state.proposals[note.source]
    if one is None or one.decided is not None:
        return False
    counted = one.promises if isinstance(note.asked, Prepare) else one.takers
    return note.asked == proposer.request(one) and NODES[note.target] not in counted


def tidy(state: State) -> State:
    left = frozenset(note for note in state.sent if note.said is None or counts(state, note))
    return state if len(left) == len(state.sent) else replace(state, sent=left)


def check(state: State) -> None:
    """At most one value is decided: as proposers and disks have it, and as the votes ever given make it."""
    said = {one.decided for one in state.proposals if one is not None} | {disk.decided for disk in state.disks}
    voters: dict[Vote, set[int]] = {}
    for box, vote in state.votes:
        voters.setdefault(vote, set()).add(box)
    chosen = {vote.value for vote, boxes in voters.items() if len(boxes) >= 2}
    if len((said | chosen) - {None}) > 1:
        raise Broken("two decisions in one epoch")
