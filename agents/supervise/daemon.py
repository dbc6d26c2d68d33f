"""A daemon's life from its command line to its exit status: config, state, one task group, signals, watchdog.

Exit status: 0 ended as asked, 78 (EX_CONFIG) the configuration is wrong, 1 anything else; systemd restarts on 1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

from structlog.typing import FilteringBoundLogger

from agents.contracts.ids import node_id
from agents.core.errors import ConfigError, Rejected, Retryable
from agents.core.ports import Clock, Notifier
from agents.core.settings import Listener, Settings
from agents.io import config, logs
from agents.io.clock import SystemClock
from agents.io.machine import open_machine
from agents.io.notify import notifier, watchdog_seconds
from agents.io.tls import client_context
from agents.supervise.context import Context, DaemonSpec, Loop, S
from agents.supervise.health import Health
from agents.supervise.metrics import Metrics
from agents.supervise.port import keep_open
from agents.supervise.pulse import Pulse

__all__ = ["Context", "DaemonSpec", "Health", "Loop", "Metrics", "Pulse", "run_daemon"]

EX_CONFIG = 78
LEAVE = 1.0
"""Seconds that loops have to leave by themselves after a signal, before they are cancelled."""
STOP = 10.0
"""Seconds from the signal to the exit, enforced; less than the units' TimeoutStopSec."""
TICK = 15.0
"""Seconds between looks at the loops where systemd asks for no watchdog."""


def run_daemon(spec: DaemonSpec[S], argv: Sequence[str] | None = None) -> int:
    """Runs the daemon of `spec` to its end and returns the exit status. `argv` without the program's name."""
    options = _options(spec.name, spec.commands, argv)
    root = "" if options.root is None else str(options.root.absolute()).rstrip("/")
    try:
        settings = _checked(spec, options.config, root)
        machine = open_machine(settings.node.machine, Path(settings.node.run_dir))
        if options.check_config:
            print(f"{spec.name}: the configuration is good")
            return 0
    except Rejected as error:
        return _refuse(spec.name, error, root)
    log = logs.configure(spec.name, settings.node.log_level)
    try:
        node = node_id(machine.facts().hardware_id)
        log = log.bind(node=node)
    except Rejected as error:
        log.info("the machine is unknown so far", cause=str(error))
    try:
        state_dir = _make_state_dir(Path(settings.node.state_dir) / spec.name)
        return asyncio.run(_Life(spec, settings, machine, state_dir, log).run())
    except ConfigError as error:
        return _refuse(spec.name, error)
    except (Rejected, Retryable) as error:
        log.error("cannot start", cause=str(error))
        return 1


def _checked(spec: DaemonSpec[S], file: Path | None, root: str) -> Settings[S]:
    """The settings, and what they name is right too. Raises ConfigError, also then with what is wrong with the files
    that the right parts name: who mends it is to need one turn."""
    wrong: list[str] = []
    try:
        settings = config.load(spec.section, spec.settings, file, root=Path(f"{root}{config.ROOT}"))
    except ConfigError as error:
        if error.sound is None:
            raise
        wrong, settings = error.problems, cast("Settings[S]", error.sound)
    if root:
        from agents.core.rooted import rooted  # a check on another machine: no daemon that runs pays for it

        settings = rooted(settings, root)
    more = _shared_problems(settings)
    if settings.own is not None:
        more += spec.check(settings)
    if wrong or more:
        raise ConfigError([*wrong, *sorted(set(more))])
    return settings


def _options(name: str, commands: Mapping[str, str], argv: Sequence[str] | None) -> argparse.Namespace:
    width = max(map(len, commands), default=0)
    listed = "\n".join(f"  {word:{width}}  {text}" for word, text in commands.items())
    parser = argparse.ArgumentParser(
        prog=name,
        description="Without a command: runs the daemon." if commands else None,
        epilog=f"commands ({name} COMMAND --help says more):\n{listed}" if commands else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="read this file alone (and the environment)")
    parser.add_argument("--check-config", action="store_true", help="check the configuration and end")
    below = "with --check-config: the files of the configuration are those below DIR, as if it were /"
    parser.add_argument("--root", type=Path, metavar="DIR", help=below)
    options, unknown = parser.parse_known_args(argv)
    if unknown:
        hint = f"; the commands, which come first, are {', '.join(commands)}" if commands else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    if options.root is not None and not options.check_config:
        parser.error("--root is for --check-config alone")
    return options


def _shared_problems(settings: Settings[Any]) -> list[str]:
    """What the types of the shared sections cannot say."""
    if settings.endpoint is None or settings.endpoint.ca_file is None:
        return []
    try:
        client_context(settings.endpoint)
    except Rejected as error:
        return [f"endpoint.ca_file: {error.file}: {error.cause}"]
    return []


def _refuse(name: str, error: Rejected, root: str = "") -> int:
    for problem in error.problems if isinstance(error, ConfigError) else [str(error)]:
        print(f"{name}: {problem.replace(root, '') if root else problem}", file=sys.stderr)
    return EX_CONFIG


def _make_state_dir(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise Retryable(f"{path}: the state directory cannot be made: {error.strerror}") from None
    return path


class _Life:
    """One run of the event loop."""

    def __init__(
        self, spec: DaemonSpec[S], settings: Settings[S], machine: Any, state_dir: Path, log: FilteringBoundLogger
    ) -> None:
        self._spec: DaemonSpec[Any] = spec
        self._settings: Settings[Any] = settings
        self._machine = machine
        self._state_dir = state_dir
        self._log = log
        self._clock: Clock = SystemClock()
        self._notifier: Notifier = notifier()
        self._watchdog = watchdog_seconds()
        self._pulses: list[Pulse] = []
        self._limit: threading.Timer | None = None
        self._built = False
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(name, None)  # children must not speak for us

    async def run(self) -> int:
        """From build to exit status. Raises what `build` raises of the two expected families."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, stopping, number.name)
        status = 0
        try:
            async with AsyncExitStack() as stack:
                context = self._context(stack, stopping)
                loops = await self._spec.build(context)
                self._notifier.ready()
                self._log.info("ready", loops=[one.name for one in loops])
                self._built = True
                await self._run_all(context, loops)
        except Exception as error:
            if not self._built and isinstance(error, Rejected | Retryable):
                raise
            self._log.error("crashed", exc_info=error)
            status = 1
        finally:
            if self._limit is not None:
                self._limit.cancel()
        self._log.info("stopped", status=status)
        return status

    def _context(self, stack: AsyncExitStack, stopping: asyncio.Event) -> Context[Any]:
        health = Health(self._clock)
        health.changed = lambda: self._notifier.status(health.line())
        return Context(
            name=self._spec.name,
            settings=self._settings,
            clock=self._clock,
            machine=self._machine,
            state_dir=self._state_dir,
            run_dir=Path(self._settings.node.run_dir),
            log=self._log,
            health=health,
            metrics=Metrics(),
            stack=stack,
            stopping=stopping,
            notifier=self._notifier,
        )

    def _stop(self, stopping: asyncio.Event, why: str) -> None:
        if not stopping.is_set():
            self._log.info("stopping", why=why)
            stopping.set()
        self._enforce()

    def _enforce(self) -> None:
        """From now on the process ends within STOP seconds, whatever hangs."""
        if self._limit is None:
            self._limit = threading.Timer(STOP, self._give_up)
            self._limit.daemon = True
            self._limit.start()

    def _give_up(self) -> None:
        self._log.error("did not stop in time", seconds=STOP)
        os._exit(1)

    async def _run_all(self, context: Context[Any], loops: Sequence[Loop]) -> None:
        listener: Listener = self._settings.own.health
        everything = list(loops)
        if listener.port:
            everything.append(Loop("health port", lambda pulse: keep_open(context, listener, pulse)))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._run_one(one, context), name=one.name) for one in everything]
                watch = group.create_task(self._watch(context), name="watchdog")
                await context.stopping.wait()
                self._enforce()
                self._notifier.stopping()
                await asyncio.wait(tasks, timeout=LEAVE)
                for task in [*tasks, watch]:
                    task.cancel()
        finally:
            self._enforce()

    async def _run_one(self, one: Loop, context: Context[Any]) -> None:
        pulse = Pulse(one.name, self._clock, context.stopping)
        self._pulses.append(pulse)
        try:
            await one.live(pulse, self._clock.monotonic())  # which Linux counts from the boot
        finally:
            pulse.done()

    async def _watch(self, context: Context[Any]) -> None:
        """Says WATCHDOG=1 at half the interval, but only while every loop has met its own next deadline."""
        interval = self._watchdog / 2 if self._watchdog else TICK
        late: set[str] = set()
        while True:
            overdue = {pulse.name: pulse.overdue() for pulse in self._pulses if pulse.overdue() > 0}
            if not overdue:
                self._notifier.watchdog()
            for name in overdue.keys() - late:
                self._log.error("a loop missed its deadline", loop=name, seconds=round(overdue[name], 1))
            for name in late - overdue.keys():
                self._log.info("the loop is back", loop=name)
            if overdue or late:
                names = ", ".join(sorted(overdue))
                context.health.set("loops", not overdue, f"{names} late" if overdue else "all on time")
            late = set(overdue)
            await self._clock.sleep(interval)
