"""`rotate`: this node's own certificates are made anew now, in the rotor's turn. Touches ident and the rotor.

The site's secrets are another thing: they change by an operators' order to the site (`galley site rotate`). The end is
told by the certificates themselves: once those that are shown began at another time, they are new.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from agents.contracts.command import Command
from agents.core.ports import Clock
from edge_commander.acts.reboot import Store
from edge_commander.acts.store import Act
from edge_commander.reasons import Reason
from edge_commander.rotation.plan import Life
from edge_commander.verbs import Outcome

LONGEST_SECONDS = 1800.0
"""For how long it is waited for: the others may be at something, or down."""


class Renewing(Protocol):
    """See Formation."""

    @property
    def why_no_server(self) -> str:
        """Why this node has none to renew; empty where it has."""

    async def certificates(self) -> Life | None:
        """The life of this node's."""

    def renew(self, begin: int | None) -> Reason:
        """Wants those that began then renewed."""

    def renew_leaf(self) -> None:
        """A new certificate for the siblings' channel."""


class Rotates:
    """One node's."""

    def __init__(self, renewing: Renewing, store: Store, clock: Clock) -> None:
        self._renewing = renewing
        self._store = store
        self._clock = clock
        self._since: tuple[str, float] | None = None

    async def execute(self, command: Command) -> Outcome | None:
        """See Handler. Raises Retryable."""
        act = self._store.of(command.id)
        if act is None and (why_not := self._renewing.why_no_server):
            return Outcome("refused", f"nothing is renewed here: {why_not}")
        life = await self._renewing.certificates()
        if act is None and life is not None:
            act = Act(id=command.id, mark=life.begin)
            self._store.save(self._store.acts.at(act))
        if act is not None and life is not None and life.begin != act.mark:
            self._renewing.renew(None)
            self._renewing.renew_leaf()
            end = datetime.fromtimestamp(life.end / 1000, UTC).isoformat(timespec="seconds")
            return Outcome("done", f"this node's certificates are new, and end on {end}")
        reason = self._renewing.renew(act.mark) if act is not None else None
        if not self._is_over(command.id):
            return None
        self._renewing.renew(None)
        waits = reason.text if reason is not None else "this node's API server shows no certificate"
        return Outcome("failed", f"the certificates were not renewed in time: {waits or 'the renewal has not ended'}")

    def _is_over(self, command: str) -> bool:
        now = self._clock.monotonic()
        if self._since is None or self._since[0] != command:
            self._since = command, now
        return now - self._since[1] >= LONGEST_SECONDS
