"""A site's boxes, their disks, a bad network and an operator, by one seed: who would run `cluster-init`, and how often.

The boxes run the real acceptor, proposer and decision; what is faulty is all around them: messages are lost, delayed,
doubled and reordered, boxes crash before and after a write, lose their memory or are replaced, rosters come late and
stale, epochs are raised. `Rules` names the code under test, so that a mutant of it can be put in its place.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from agents.contracts.election import ElectionAnswer, ElectionRequest, Learn, Query
from agents.contracts.identity import Election, Voter
from agents.contracts.ids import node_id
from edge_commander.election import acceptor, decision, proposer
from edge_commander.election.acceptor import BORN, AcceptorState, EpochRefused, Init
from edge_commander.election.decision import Act, Facts
from edge_commander.election.electorate import Self, majority
from edge_commander.election.proposer import Proposal

SITE = "store-1"
NODES = tuple(sorted(node_id(f"hw-{n}") for n in range(5)))
OFFLINE = Election.OFFLINE


def kid(node: str, number: int) -> str:
    return f"{node}-{number}".ljust(43, "_")


class Broken(AssertionError):
    """Two initialisers, or one that knew better."""


@dataclass(frozen=True)
class Rules:
    """The code under test."""

    answer: Callable[..., tuple[AcceptorState, ElectionAnswer]] = acceptor.answer
    adopt: Callable[..., AcceptorState] = acceptor.adopt
    without_memory: Callable[[int], AcceptorState] = acceptor.without_memory
    begin: Callable[..., Proposal] = proposer.begin
    step: Callable[..., Proposal] = proposer.step
    decide: Callable[[Facts], decision.Outcome] = decision.decide


@dataclass(frozen=True)
class Roster:
    """What the operator's document says of one epoch."""

    epoch: int
    voters: tuple[Voter, ...]


@dataclass
class Box:
    """`disk`, `roster`, `cluster` and `seen` (a counter that nothing takes back) outlive a crash; the rest does not."""

    me: Self
    disk: AcceptorState = BORN
    roster: Roster | None = None
    cluster: int | None = None
    seen: int = 0
    up: bool = True
    proposal: Proposal | None = None
    round_seen: int = 0

    def crash(self) -> None:
        self.up, self.proposal, self.round_seen = False, None, 0


@dataclass(frozen=True)
class Message:
    source: str
    target: str
    asked: ElectionRequest
    said: ElectionAnswer | None = None


@dataclass
class World:
    """One seed's world. `run` plays the bad times, `heal` the good ones after them; both raise Broken."""

    seed: int
    rules: Rules = field(default_factory=Rules)
    size: int = 3

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.chance = self.dice.random
        self.boxes = {node: Box(Self(SITE, node, kid(node, 0))) for node in NODES[: self.size]}
        self.names = list(self.boxes)
        self.keys = 1
        self.rosters = [self._roster(1)]
        self.flight: list[Message] = []
        self.cut: set[tuple[str, str]] = set()
        self.started: dict[int, set[Self]] = {}
        self.founded: dict[int, list[Self]] = {}
        self.chosen: dict[int, set[str]] = {}
        self.events = 0
        self.calm = False

    def _roster(self, epoch: int) -> Roster:
        return Roster(epoch, tuple(Voter(node=one.me.node, kid=one.me.kid) for one in self.boxes.values()))

    # What happens.

    def run(self, steps: int = 200) -> None:
        """Bad times: any of the boxes' own steps, and every now and then a fault."""
        faults: list[Callable[[Box], None]] = [
            self._crash, self._crash, self._crash, self._lose_file, self._lose_ident, self._lose_all_but_tpm,
            self._wipe, self._partition, self._partition, self._partition, self._raise_epoch, self._stale_roster,
        ]  # fmt: skip
        fault_rate = self.dice.choice((0.0, 0.02, 0.06))
        loss = self.dice.choice((0.0, 0.1, 0.3))
        for _ in range(steps):
            self.events += 1
            box = self.boxes[self.dice.choice(self.names)]
            if self.chance() < fault_rate:
                self.dice.choice(faults)(box)
            elif self.flight and self.chance() < 0.75:
                self._deliver_any(loss)
            elif not box.up:
                box.up = self.chance() < 0.5
            elif box.roster is None or self.chance() < 0.15:
                self._hear(box, self.rosters[-1])
            else:
                self._timer(box)

    def heal(self) -> int:
        """Good times: all are up and hear each other. Returns the epoch in which a decision is known to all who may
        vote; the operator raises it where too many voters have no memory of the present one. Raises Broken without
        progress."""
        self.calm = True
        self.cut.clear()
        for box in self.boxes.values():
            box.up = True
        for _ in range(5):
            for box in self.boxes.values():
                self._hear(box, self.rosters[-1])
            epoch = self.rosters[-1].epoch
            able = [box for box in self.boxes.values() if self._able(box)]
            if len(able) >= majority(self.rosters[-1].voters):
                self._settle(epoch, able)
                return epoch
            self._raise_epoch()
        raise Broken(f"seed {self.seed}: not even a new epoch brings voters back")

    def _settle(self, epoch: int, able: list[Box]) -> None:
        for _ in range(40 * self.size):
            if all(box.disk.decided is not None for box in able) and not self.flight:
                break
            if not self.flight:
                self._timer(self.dice.choice(able))
            while self.flight:
                self._arrive(self.flight.pop(0))
        else:
            raise Broken(f"seed {self.seed}: a majority talks and epoch {epoch} is not decided")
        for box in self.boxes.values():
            self._act(box)
            self._act(box)

    def _able(self, box: Box) -> bool:
        state = box.disk
        return (
            state.epoch == self.rosters[-1].epoch
            and not state.is_barred
            and any(one.kid == box.me.kid for one in state.voters)
        )

    # Faults.

    def _crash(self, box: Box) -> None:
        box.crash()

    def _lose_file(self, box: Box) -> None:
        """The acceptor's file alone is gone or corrupt: keys and roster are still there."""
        box.crash()
        box.disk = self.rules.without_memory(0 if box.roster is None else box.roster.epoch)

    def _lose_ident(self, box: Box) -> None:
        """Another box, or another disk: new keys, and the operator lets it in under the same node id."""
        if self.chance() < 0.5:
            return
        fresh = Box(Self(SITE, box.me.node, kid(box.me.node, self.keys)), up=False)
        self.keys += 1
        self.boxes[box.me.node] = fresh

    def _lose_all_but_tpm(self, box: Box) -> None:
        """The disk is new, the keys and the counter of epochs are in the TPM."""
        box.crash()
        box.disk, box.roster, box.cluster = self.rules.without_memory(box.seen), None, None

    def _wipe(self, box: Box) -> None:
        box.crash()
        box.disk, box.cluster = msgspec.structs.replace(box.disk, wiped=True), None

    def _partition(self, box: Box) -> None:
        if self.cut and self.chance() < 0.5:
            self.cut.clear()
            return
        for other in self.names:
            if self.chance() < 0.6:
                self.cut.add((box.me.node, other))
            if self.chance() < 0.6:
                self.cut.add((other, box.me.node))

    def _raise_epoch(self, box: Box | None = None) -> None:
        if len(self.rosters) < 4 or box is None:
            self.rosters.append(self._roster(self.rosters[-1].epoch + 1))

    def _stale_roster(self, box: Box) -> None:
        if box.up:
            self._hear(box, self.dice.choice(self.rosters))

    def _mishap(self, rate: float) -> bool:
        return not self.calm and self.chance() < rate

    # A box's own steps.

    def _hear(self, box: Box, roster: Roster) -> None:
        """A roster arrives: kept where newer, then adopted; a crash may come between the two."""
        if box.roster is None or roster.epoch >= box.roster.epoch:
            box.roster = roster
            box.seen = max(box.seen, roster.epoch)
        if self._mishap(0.05):
            if self.chance() < 0.5:
                box.crash()
            return
        try:
            box.disk = self.rules.adopt(box.disk, roster.epoch, OFFLINE, roster.voters)
        except EpochRefused:
            return
        if box.cluster is not None and box.cluster < box.disk.epoch:
            box.cluster = None  # it waited, and a person had it wiped

    def _outcome(self, box: Box) -> decision.Outcome | None:
        if box.roster is None:
            return None
        return self.rules.decide(Facts(box.disk, box.me, box.roster.epoch, OFFLINE, box.cluster))

    def _timer(self, box: Box) -> None:
        outcome = self._outcome(box)
        if outcome is None:
            return
        if outcome.act is Act.VOTE:
            if box.proposal is not None and not box.proposal.ended and self.chance() < 0.4:
                self._send(box, proposer.request(box.proposal))
                return
            box.proposal = self.rules.begin(box.disk, box.me, box.round_seen)
            self._advance(box)
        elif outcome.act is Act.LISTEN:
            self._send(box, proposer.query(box.disk, box.me))
        elif outcome.act is Act.JOIN and box.disk.decided is not None and box.disk.voters and self.chance() < 0.3:
            self._send(box, proposer.announcement(box.disk, box.me))
        else:
            self._act(box)

    def _act(self, box: Box) -> None:
        """Does what the decision allows of `cluster-init`: begins it durably, and may crash before its end."""
        outcome = self._outcome(box)
        if outcome is None or outcome.act is not Act.INITIALISE:
            return
        epoch = box.disk.epoch
        if box.seen > epoch:
            raise Broken(f"seed {self.seed}: epoch {box.seen} is known, and the box acts in epoch {epoch}")
        self.started.setdefault(epoch, set()).add(box.me)
        if len(self.started[epoch]) > 1:
            raise Broken(f"seed {self.seed}: epoch {epoch} has two initialisers")
        box.disk = msgspec.structs.replace(box.disk, init=Init.STARTED)
        if self._mishap(0.3):
            box.crash()
            return
        self.founded.setdefault(epoch, []).append(box.me)
        if len(self.founded[epoch]) > 1:
            raise Broken(f"seed {self.seed}: epoch {epoch} has two clusters")
        box.disk, box.cluster = msgspec.structs.replace(box.disk, init=Init.DONE), epoch

    def _advance(self, box: Box) -> None:
        """Asks the own acceptor first, then all others; on to the next phase where the own vote was enough."""
        for _ in range(2):
            one = box.proposal
            if one is None or one.ended:
                return
            asked = proposer.request(one)
            box.disk, said = self.rules.answer(box.disk, box.me, box.me.node, asked)
            if self._mishap(0.02):
                box.crash()
                return
            self._send(box, asked)
            box.proposal = self.rules.step(one, box.me.node, asked, said)
            self._concluded(box)
            if box.proposal is None or box.proposal.ended or proposer.request(box.proposal) == asked:
                return

    def _concluded(self, box: Box) -> None:
        one = box.proposal
        if one is None or one.decided is None:
            return
        self.chosen.setdefault(one.epoch, set()).add(one.decided)
        if len(self.chosen[one.epoch]) > 1:
            raise Broken(f"seed {self.seed}: epoch {one.epoch} has two decisions")
        box.disk = acceptor.learn(box.disk, one.epoch, one.decided)
        if box.disk.decided is not None and box.disk.epoch == one.epoch:
            self._send(box, proposer.announcement(box.disk, box.me))

    # The network.

    def _send(self, box: Box, asked: ElectionRequest) -> None:
        self.flight += [Message(box.me.node, other, asked) for other in self.names if other != box.me.node]

    def _deliver_any(self, loss: float) -> None:
        index = self.dice.randrange(len(self.flight))
        message = self.flight[index]
        if self.chance() >= 0.1:  # else it is delivered now, and once more later
            self.flight[index] = self.flight[-1]
            self.flight.pop()
        if self.chance() >= loss and (message.source, message.target) not in self.cut:
            self._arrive(message)

    def _arrive(self, message: Message) -> None:
        box = self.boxes[message.target]
        if not box.up:
            return
        if message.said is None:
            self._asked(box, message)
        else:
            self._answered(box, message, message.said)

    def _asked(self, box: Box, message: Message) -> None:
        state, said = self.rules.answer(box.disk, box.me, message.source, message.asked)
        writes = state != box.disk
        if writes and self._mishap(0.03):  # before the write
            box.crash()
            return
        box.disk = state
        if writes and self._mishap(0.03):  # after it, before the answer
            box.crash()
            return
        if not isinstance(message.asked, Learn):
            self.flight.append(Message(message.target, message.source, message.asked, said))

    def _answered(self, box: Box, message: Message, said: ElectionAnswer) -> None:
        if said.promised is not None:
            box.round_seen = max(box.round_seen, said.promised.round)
        asked = message.asked
        if isinstance(asked, Query):
            if said.decided is not None:
                box.disk = acceptor.learn(box.disk, asked.epoch, said.decided)
            return
        if box.proposal is None or box.proposal.ended or isinstance(asked, Learn):
            return
        before = proposer.request(box.proposal)
        box.proposal = self.rules.step(box.proposal, message.source, asked, said)
        self._concluded(box)
        if not box.proposal.ended and proposer.request(box.proposal) != before:
            self._advance(box)


def play(seed: int, rules: Rules | None = None, steps: int = 200) -> World:
    """One seed from begin to end: sites of three, of five, and of one or two every now and then. Raises Broken."""
    size = (3, 3, 3, 3, 5, 3, 5, 2, 3, 1)[seed % 10]
    world = World(seed, rules or Rules(), size)
    world.run(steps)
    world.heal()
    return world
