"""Where the daemon meets the wipe: a handler for two verbs, and a loop that looks after what is owed. Builds adapters.

Next to nothing is imported before a command comes or something is owed: every node pays for what it holds in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agents.contracts.command import Command, Verb
from agents.core.ports import Outbox
from agents.supervise.daemon import Context, Pulse
from edge_commander.cloud import Cloud
from edge_commander.distribution.port import Distribution
from edge_commander.memory import Memory
from edge_commander.reasons import NOTHING, Reason
from edge_commander.settings import CommanderSettings
from edge_commander.times import Times
from edge_commander.tokens import Tokens
from edge_commander.verbs import Handler, Outcome

if TYPE_CHECKING:
    from edge_commander.wiping.after import After
    from edge_commander.wiping.shell import Wiper

VERBS = (Verb.WIPE, Verb.RETIRE)
LOOK_SECONDS = 5.0
DUTY = "wipe-duty.json"


@dataclass
class Wiping:
    """`handlers` for the table of verbs, `keep` as a loop. `cloud`, `tokens` None where no endpoint is configured: no
    command comes then."""

    context: Context[CommanderSettings]
    memory: Memory
    distribution: Distribution
    cloud: Cloud | None
    tokens: Tokens | None
    times: Times
    outbox: Outbox
    _wiper: Wiper | None = field(default=None, init=False)
    _after: After | None = field(default=None, init=False)

    @property
    def handlers(self) -> Mapping[Verb, Handler]:
        """Of its verbs."""
        return {verb: Handler(self.execute, repeatable=True) for verb in VERBS}

    async def execute(self, command: Command) -> Outcome | None:
        """One turn of the wipe."""
        return await self._built()[0].turn(command)

    def reason(self) -> Reason:
        """How far a wipe is that is not armed yet; NOTHING where there is none."""
        return self._wiper.reason if self._wiper is not None else NOTHING

    def owes(self) -> bool:
        """Whether a wipe's command is in hand, or something is still to be done after one."""
        return self._in_hand or (self.memory.directory / DUTY).exists()

    @property
    def _in_hand(self) -> bool:
        current = self.memory.ledger.current
        return current is not None and current.command.verb in VERBS

    async def keep(self, pulse: Pulse) -> None:
        """Looks after what is owed, until the daemon stops."""
        while not pulse.stopping:
            if not self._in_hand and self.owes():
                await self._built()[1].look()
            await pulse.sleep(LOOK_SECONDS, grace=120.0)

    async def aclose(self) -> None:
        """Ends what is under way."""
        if self._wiper is not None:
            await self._wiper.aclose()

    def _built(self) -> tuple[Wiper, After]:
        if self._wiper is None or self._after is None:
            from edge_commander.wiping.after import After
            from edge_commander.wiping.build import means
            from edge_commander.wiping.shell import Wiper

            made = means(self)
            self._wiper, self._after = Wiper(made), After(made, self.outbox.pending)
        return self._wiper, self._after
