"""The acceptor's state on `ident`: on disk before anything of it is told. Touches `election.json` there.

A file that cannot be read is put aside, and the box is then barred as one without memory (see acceptor).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agents.contracts.election import ElectionAnswer, ElectionRequest, InitGrant
from agents.contracts.identity import Election, Voter
from agents.contracts.ids import NodeId
from agents.core.errors import Rejected
from agents.io.state import StateFile
from edge_commander.election import acceptor
from edge_commander.election.acceptor import BORN, AcceptorState, Init
from edge_commander.election.electorate import Self, is_voter

BOX_NAME = "election.json"
C = TypeVar("C", bound=Callable[..., Any])


def _alone(method: C) -> C:
    """One change at a time: some come from threads, siblings' from the loop, and each starts at the state before it."""

    @functools.wraps(method)
    def locked(self: BallotBox, *args: Any, **more: Any) -> Any:
        with self._lock:
            return method(self, *args, **more)

    return locked  # type: ignore[return-value]


class BallotBox:
    """One box's part in elections. `state` is what is on disk; every change is there first.

    Must be opened before device keys are made: `had_keys` says whether any are there (or were, and are damaged).
    `floor`: the highest epoch known from elsewhere on this box (stored site document, TPM), 0 for none. All methods
    block for a write (ms), and raise Retryable when the disk refuses; then the old state stands, and nothing is told.
    """

    def __init__(self, directory: Path, *, had_keys: bool, floor: int = 0) -> None:
        self.path = directory / BOX_NAME
        self._lock = threading.Lock()
        self._file = StateFile(self.path, AcceptorState)
        found = self._file.load()
        if found is None:
            gone = had_keys or bool(self.damaged())
            found = acceptor.without_memory(floor) if gone else BORN
            self._file.save(found)
        self.state = found

    def damaged(self) -> list[Path]:
        """Files that were put aside as corrupt, this time or earlier."""
        return sorted(self.path.parent.glob(f"{BOX_NAME}.corrupt-*"))

    @_alone
    def adopt(self, epoch: int, election: Election, voters: Iterable[Voter]) -> AcceptorState:
        """Takes over a verified roster, which must be stored by now: were it not, a lost box would not know the epoch
        that it is barred from. Raises EpochRefused."""
        return self._keep(acceptor.adopt(self.state, epoch, election, voters))

    @_alone
    def answer(self, me: Self, peer: NodeId, request: ElectionRequest) -> ElectionAnswer:
        """Judges a request of `peer` (authenticated); what is promised or taken is on disk on return."""
        state, said = acceptor.answer(self.state, me, peer, request)
        self._keep(state)
        return said

    @_alone
    def learn(self, epoch: int, value: NodeId) -> AcceptorState:
        """Records a decision of `epoch`; of another epoch than the present one nothing is recorded."""
        return self._keep(acceptor.learn(self.state, epoch, value))

    @_alone
    def granted(self, me: Self, grant: InitGrant) -> AcceptorState:
        """Records the endpoint's answer. Raises EpochRefused."""
        return self._keep(acceptor.granted(self.state, me, grant))

    @_alone
    def draw_life(self, number: str) -> str:
        """The number that this box says to the endpoint with its word that it begins: drawn once an epoch, and on disk
        before it is told. `number`: a new one, for when there is none yet."""
        return self._keep(msgspec.structs.replace(self.state, life=self.state.life or number)).life

    @_alone
    def begin_init(self, me: Self, epoch: int, *, resumes: bool = False) -> None:
        """Must return before the first step of `cluster-init` (again after a crash: nothing changes). Raises Rejected
        where this box may not: not decided on, another epoch by now, wiped since, done already. `resumes`: the caller
        knows that it began, and that what it began with is still on its disk; then done already is no obstacle."""
        now = self.state
        allowed = (
            now.epoch == epoch
            and now.decided == me.node
            and not now.is_barred
            and not now.wiped
            and (resumes or now.init is not Init.DONE)
            and (now.election is Election.CLOUD or is_voter(now.voters, me))
        )
        if not allowed:
            raise Rejected(f"this box may not initialise a cluster in epoch {epoch}", file=str(self.path))
        if now.init is not Init.DONE:
            self._keep(msgspec.structs.replace(now, init=Init.STARTED))

    @_alone
    def end_init(self, epoch: int) -> None:
        """`cluster-init` succeeded. Must return before another node may join. Raises Rejected where none was begun."""
        if self.state.epoch != epoch or self.state.init is Init.NONE:
            raise Rejected(f"no cluster was begun here in epoch {epoch}", file=str(self.path))
        self._keep(msgspec.structs.replace(self.state, init=Init.DONE))

    @_alone
    def wiped(self) -> None:
        """Must return before a wipe is armed: from then on this box may only join in this epoch."""
        self._keep(msgspec.structs.replace(self.state, wiped=True))

    def _keep(self, state: AcceptorState) -> AcceptorState:
        if state != self.state:
            self._file.save(state)
            self.state = state
        return state
