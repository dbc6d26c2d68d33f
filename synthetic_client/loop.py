"""The synthetic client's loops: one per step, each on its own grid and within its own time, and the report."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from agents.contracts.messages import Synthetic
from agents.core.errors import Retryable
from agents.core.grid import Grid
from agents.core.ports import Clock, Outbox
from agents.supervise.daemon import Health, Metrics, Pulse
from synthetic_client.steps.base import Runner
from synthetic_client.tally import Kind, StepFailed, Tally

STEPS_PER_MESSAGE = 25
"""Keeps a report of the longest error texts below the contract's 64 KiB."""


class StepLoop:
    """Runs one step at each point of its grid; what it does never touches the others."""

    def __init__(
        self, runner: Runner, tally: Tally, *, timeout: float, grid: Grid, clock: Clock, log: FilteringBoundLogger
    ) -> None:
        self.runner = runner
        self.tally = tally
        self._timeout = timeout
        self._grid = grid
        self._clock = clock
        self._log = log.bind(step=tally.step)
        self._was_ok: bool | None = None

    async def run(self, pulse: Pulse) -> None:
        """Until the daemon ends."""
        while not pulse.stopping:
            now = self._clock.monotonic()
            await pulse.sleep(self._grid.after(now) - now)
            if not pulse.stopping:
                pulse.expect(self._timeout + 20.0)
                await self.once()

    async def once(self) -> None:
        """One run, counted."""
        try:
            async with asyncio.timeout(self._timeout):
                seconds = await self.runner.run()
        except StepFailed as error:
            self._failed(error.kind, str(error))
        except TimeoutError:
            self._failed(Kind.TIMEOUT, f"no end within {self._timeout:g} s")
        except Exception as error:  # noqa: BLE001 - a step's bug must not stop the other steps; it is counted and seen
            self._log.error("the step is broken", exc_info=error)
            self._failed(Kind.BROKEN, type(error).__name__)
        else:
            self.tally.success(seconds)
            if self._was_ok is not True:
                self._was_ok = True
                self._log.info("step ok", seconds=round(seconds, 4))

    def _failed(self, kind: Kind, text: str) -> None:
        self.tally.failure(kind, text)
        if self._was_ok is not False:
            self._was_ok = False
            self._log.warning("step failed", kind=kind.value, cause=text)


class Reporter:
    """Puts what the steps counted into the outbox, once a window, and once more at the end."""

    def __init__(
        self,
        *,
        scenario: str,
        steps: Sequence[StepLoop],
        outbox: Outbox,
        grid: Grid,
        clock: Clock,
        health: Health,
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        self._scenario = scenario
        self._steps = steps
        self._outbox = outbox
        self._grid = grid
        self._clock = clock
        self._health = health
        self._metrics = metrics
        self._log = log
        self._since = clock.monotonic()

    async def run(self, pulse: Pulse) -> None:
        """Until the daemon ends; the last, shorter window is reported too."""
        while not pulse.stopping:
            now = self._clock.monotonic()
            await pulse.sleep(self._grid.after(now) - now)
            await self.report()

    async def report(self) -> None:
        """One window. What cannot be stored stays counted for the next one."""
        now = self._clock.monotonic()
        seconds = max(0.0, now - self._since)
        for start in range(0, len(self._steps), STEPS_PER_MESSAGE):
            part = self._steps[start : start + STEPS_PER_MESSAGE]
            taken = [(step.tally, step.tally.take()) for step in part]
            body = Synthetic(scenario=self._scenario, seconds=seconds, steps=[window.result() for _, window in taken])
            try:
                await self._outbox.put(body)
            except Retryable as error:
                for tally, window in taken:
                    tally.give_back(window)
                self._health.set("outbox", False, str(error))
                self._log.warning("the report is not stored", cause=str(error))
                return
            for _, window in taken:
                self._count(window)
        self._since = now
        self._health.set("outbox", True, "stores")

    def _count(self, window: Tally) -> None:
        for outcome, n in (("ok", window.ok), ("failed", window.failed)):
            self._metrics.counter(
                "galley_synthetic_runs_total", "Runs of steps that were reported.", step=window.step, outcome=outcome
            ).inc(n)
