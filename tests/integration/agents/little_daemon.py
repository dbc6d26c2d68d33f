"""Run as a program: a daemon of the suite's kind whose one loop behaves as its configuration says."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Sequence

import msgspec

from agents.core.errors import ConfigError, Rejected, Retryable
from agents.core.settings import Listener, Settings
from agents.supervise import daemon, port
from agents.supervise.daemon import Context, DaemonSpec, Loop, Pulse, run_daemon

port.RETRY = 0.2
daemon.STOP = 3.0


class Own(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The little daemon's section."""

    behaviour: str = "good"
    health: Listener = Listener()


async def build(context: Context[Own]) -> Sequence[Loop]:
    """One loop."""
    behaviour = context.settings.own.behaviour
    if behaviour == "config":
        raise ConfigError(["heartbeat.behaviour: is not to my taste"])
    if behaviour == "rejected":
        raise Rejected("the state is of a newer version")
    context.health.set("work", behaviour != "ill", f"behaves {behaviour}")
    context.metrics.counter("galley_turns_total", "Turns.").inc()
    context.stack.callback(context.log.info, "closed")

    async def run(pulse: Pulse) -> None:
        await pulse.sleep(0.3)
        if behaviour == "retryable":
            raise Retryable("should have been handled")
        if behaviour == "bug":
            raise ZeroDivisionError("oops")
        if behaviour == "quits":
            context.stopping.set()
        if behaviour == "stuck":
            pulse.expect(0.1)
            await asyncio.Event().wait()
        while behaviour == "clings":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(100)
        if behaviour == "blocks":
            await context.stopping.wait()
            time.sleep(100)  # noqa: ASYNC251 - the point of it
        while not pulse.stopping:
            await pulse.sleep(1)

    return [Loop("work", run)]


def check(settings: Settings[Own]) -> list[str]:
    """Two things that no type can say."""
    if settings.own.behaviour != "unchecked":
        return []
    return ["heartbeat.file: /none: cannot be read", "heartbeat.bind: is not mine"]


if __name__ == "__main__":
    sys.exit(run_daemon(DaemonSpec("heartbeat", "heartbeat", Own, build, check)))
