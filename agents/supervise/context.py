"""What a daemon's `build` gets, and the values that describe a daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from structlog.typing import FilteringBoundLogger

from agents.core.ports import Clock, Machine, Notifier
from agents.core.settings import Settings
from agents.supervise.health import Health
from agents.supervise.metrics import Metrics
from agents.supervise.pulse import FIRST, Pulse

STARTING = 180.0
"""Seconds after its boot in which a machine is thought to be starting still."""
PATIENCE = 5.0
S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True)
class Loop:
    """One loop of a daemon. `run` ends when `pulse.stopping`; earlier, it has done all it had to do.

    Retryable and Rejected are its own to handle: one that escapes is a bug and crashes the daemon.
    `patient`: it talks to others. On a machine that has just been started it begins some seconds later: no network is
    there yet, and what is loaded to talk takes the processor from daemons that are not up.
    """

    name: str
    run: Callable[[Pulse], Awaitable[None]]
    patient: bool = False

    async def live(self, pulse: Pulse, uptime: float) -> None:
        """All of its life. `uptime`: of the machine, s."""
        if self.patient and uptime < STARTING:
            await pulse.sleep(PATIENCE, grace=FIRST)  # it has its first turn before it still
        await self.run(pulse)


@dataclass(frozen=True)
class Context(Generic[S]):
    """The daemon's surroundings. `state_dir` exists with mode 0700; `stack` is closed at stop, last in first out.

    Setting `stopping` ends the daemon cleanly, with exit status 0.
    """

    name: str
    settings: Settings[S]
    clock: Clock
    machine: Machine
    state_dir: Path
    run_dir: Path
    log: FilteringBoundLogger
    health: Health
    metrics: Metrics
    stack: AsyncExitStack
    stopping: asyncio.Event
    notifier: Notifier


@dataclass(frozen=True)
class DaemonSpec(Generic[S]):
    """A daemon: `name` of command, state directory and log; its `section` of galley.yaml and that section's type.

    `settings` has a field `health: Listener`. `build` does local work alone, no network: READY=1 follows it.
    `check` names what the types cannot say: a file that must be there and is not, an address that may not be. It reads
    files alone, changes nothing, and is run at each start and by --check-config: each problem begins with the path
    of its setting. What may come late (an enrolment code, a cluster's kubeconfig) is no problem but a state.
    `commands`: what else the program can do, word to help; the program itself runs them, `--help` shows them.
    """

    name: str
    section: str
    settings: type[S]
    build: Callable[[Context[S]], Awaitable[Sequence[Loop]]]
    check: Callable[[Settings[S]], Sequence[str]] = lambda _: ()
    commands: Mapping[str, str] = field(default_factory=dict)
