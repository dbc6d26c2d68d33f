"""Runs an election among the voters: asks them through a port, in bounded rounds. Touches the ballot box and that port.

Level-triggered: each round reads everything anew, and a run may be cancelled or killed at any moment. Safety is the
acceptors' alone (see acceptor); this module only makes a decision come soon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.election import ElectionAnswer, ElectionRequest, Verdict
from agents.contracts.identity import Election
from agents.contracts.ids import NodeId
from agents.core.backoff import Backoff
from agents.core.errors import Rejected, Retryable
from agents.core.ports import Clock
from edge_commander.election import proposer
from edge_commander.election.box import BallotBox
from edge_commander.election.electorate import Self, is_voter, majority, votes
from edge_commander.election.proposer import Proposal

ASK_SECONDS = 1.0
"""How long one question waits for the slowest of those it needs."""
TELL_SECONDS = 0.3
ROUND = Backoff(base=0.1, cap=1.0)


class Peers(Protocol):
    """The siblings' channel."""

    async def ask(self, node: NodeId, request: ElectionRequest) -> ElectionAnswer:
        """One question to one voter. Raises Retryable where it does not answer, Rejected where it will not. May be
        cancelled."""


class Got(StrEnum):
    """What came of a run."""

    DECIDED = "decided"
    WAITING = "waiting"  # no majority of the voters can be asked, or others were faster each time
    FENCED = "fenced"  # a sibling knows a later epoch: a newer roster is needed
    NOTHING = "nothing"  # there is nothing to elect here: no voters yet, or the cloud decides


@dataclass(frozen=True)
class Result:
    """`node`: the initialiser where decided. `epoch`: the one elected in, or the later one of a fence.
    `silent`: voters that did not vote."""

    got: Got
    epoch: int
    node: NodeId | None = None
    silent: tuple[NodeId, ...] = ()


class Elector:
    """Both sides of the election on one box. `uniform(a, b)`: a random number between the two."""

    def __init__(
        self, box: BallotBox, me: Self, peers: Peers, clock: Clock, uniform: Callable[[float, float], float]
    ) -> None:
        self._box = box
        self._me = me
        self._peers = peers
        self._clock = clock
        self._uniform = uniform

    async def handle(self, peer: NodeId, request: ElectionRequest) -> ElectionAnswer:
        """Answers an authenticated sibling; what is promised is on disk. Raises Retryable when the disk refuses."""
        return self._box.answer(self._me, peer, request)

    async def serve(self, peer: NodeId, body: bytes) -> tuple[int, bytes]:
        """`handle` as the siblings' server wants it, for `POST` of agents.contracts.election.PATH."""
        try:
            request: ElectionRequest = decode(body, ElectionRequest)  # type: ignore[arg-type]
        except ContractError as error:
            return 400, str(error).encode()
        return 200, encode(await self.handle(peer, request))

    async def run(self, seconds: float, *, propose: bool = True) -> Result:
        """Elects, or learns who was elected, within about `seconds`. A box without a vote only learns; one that is not
        to `propose` votes, and never for itself.

        Raises Retryable when the disk refuses, Rejected where the epoch's rounds are used up.
        """
        until = self._clock.monotonic() + seconds
        backoff, round_seen = ROUND, 0
        while True:
            state = self._box.state
            if state.decided is not None:
                return Result(Got.DECIDED, state.epoch, state.decided)
            if state.election is not Election.OFFLINE or not state.voters:
                return Result(Got.NOTHING, state.epoch)
            looked = await self._look()
            if looked.fenced:
                return Result(Got.FENCED, looked.fenced, silent=looked.silent)
            round_seen = max(round_seen, looked.round_seen)
            if propose and looked.may_propose and self._still(state.epoch):
                ended = await self._propose(round_seen)
                if ended.fenced:
                    return Result(Got.FENCED, ended.fenced)
                round_seen = max(round_seen, ended.round_seen)
            if self._box.state.decided is not None:
                continue
            backoff = backoff.failed()
            wait = backoff.delay(self._uniform)
            if self._clock.monotonic() + wait >= until:
                return Result(Got.WAITING, state.epoch, silent=looked.silent)
            await self._clock.sleep(wait)

    def _still(self, epoch: int) -> bool:
        return self._box.state.epoch == epoch and self._box.state.decided is None

    async def _look(self) -> _Looked:
        """Asks all voters what they know; a decision that one knows is recorded."""
        state, me = self._box.state, self._me
        able = not state.is_barred and is_voter(state.voters, me)
        voting = {me.node} if able else set()
        looked = _Looked()

        def heard(node: NodeId, said: ElectionAnswer) -> bool:
            if said.verdict is Verdict.FENCED:
                looked.fenced = max(looked.fenced, said.epoch)
            elif said.decided is not None and votes(state.voters, said.decided):
                self._box.learn(state.epoch, said.decided)
            if said.promised is not None:
                looked.round_seen = max(looked.round_seen, said.promised.round)
            if said.verdict is Verdict.OK:
                voting.add(node)
            enough = able and len(voting) >= majority(state.voters)
            return enough or looked.fenced > 0 or said.decided is not None

        await self._ask(self._others(), proposer.query(state, me), heard, ASK_SECONDS)
        looked.may_propose = able and len(voting) >= majority(state.voters)
        looked.silent = tuple(one.node for one in state.voters if one.node not in voting)
        return looked

    async def _propose(self, round_seen: int) -> Proposal:
        """One ballot, up to its end or until nobody answers any more; a decision is recorded and told."""
        state, me = self._box.state, self._me
        one = proposer.begin(state, me, round_seen)
        for _phase in range(2):
            asked = proposer.request(one)
            one = proposer.step(one, me.node, asked, self._box.answer(me, me.node, asked))

            def heard(node: NodeId, said: ElectionAnswer, asked: proposer.Asked = asked) -> bool:
                nonlocal one
                one = proposer.step(one, node, asked, said)
                return one.ended or proposer.request(one) != asked

            if not one.ended and proposer.request(one) == asked:
                await self._ask(self._others(), asked, heard, ASK_SECONDS)
            if one.ended or proposer.request(one) == asked:
                break
        if one.decided is not None and self._box.learn(one.epoch, one.decided).epoch == one.epoch:
            await self._ask(self._others(), proposer.announcement(self._box.state, me), lambda *_: False, TELL_SECONDS)
        return one

    def _others(self) -> list[NodeId]:
        return [one.node for one in self._box.state.voters if one.node != self._me.node]

    async def _ask(
        self,
        nodes: Iterable[NodeId],
        request: ElectionRequest,
        heard: Callable[[NodeId, ElectionAnswer], bool],
        seconds: float,
    ) -> None:
        """Asks all at once and passes each answer on, until `heard` says enough, all answered, or time is up."""
        timer = asyncio.create_task(self._clock.sleep(seconds))
        asking = {asyncio.create_task(self._peers.ask(node, request)): node for node in nodes}
        left: set[asyncio.Task[ElectionAnswer]] = set(asking)
        try:
            while left and not timer.done():
                done, _ = await asyncio.wait({*left, timer}, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in left if task in done]:
                    left.remove(task)
                    try:
                        said = task.result()
                    except (Retryable, Rejected):
                        continue
                    if heard(asking[task], said):
                        return
        finally:
            timer.cancel()
            for task in left:
                task.cancel()
            await asyncio.gather(timer, *left, return_exceptions=True)


@dataclass
class _Looked:
    may_propose: bool = False
    fenced: int = 0
    round_seen: int = 0
    silent: tuple[NodeId, ...] = ()
