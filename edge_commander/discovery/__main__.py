"""The process `python -m edge_commander.discovery`: announces this node on the LAN, leaves hints for the commander.

It reads what anybody on the LAN sends, so it is a process that holds nothing: no key, no token, no cluster, no
configuration. Where it does not run, siblings are found by the roster's addresses alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from agents.contracts.ids import node_id
from agents.core.errors import Rejected, Retryable
from agents.core.ports import Machine
from agents.io import logs
from agents.io.machine import open_machine
from agents.io.notify import notifier
from edge_commander.discovery import hintfile
from edge_commander.discovery.hints import HintTable
from edge_commander.discovery.interfaces import Lan, choose, look
from edge_commander.discovery.mdns import Voice

LOOK_SECONDS = 10.0
"""Between looks at the machine's addresses."""
ASK_SECONDS = 120.0
"""Between questions to the LAN, give or take a quarter."""
GATHER_SECONDS = 1.0
"""How long announcements are gathered before the file is written."""


class Discovery:
    """The process's loop. `lan`: this machine's LAN as it is now."""

    def __init__(
        self, machine: Machine, port: int, out: Path, lan: Callable[[], Lan], log: FilteringBoundLogger
    ) -> None:
        self._machine = machine
        self._port = port
        self._out = out
        self._look = lan
        self._log = log
        self._table = HintTable()
        self._news = asyncio.Event()
        self._node = ""
        self._lan = Lan()
        self._voice: Voice | None = None
        self._ask_at = 0.0
        self._said = ""

    async def turn(self) -> None:
        """One look: who this is, on which LAN, and what was heard."""
        try:
            self._node = self._node or node_id(self._machine.facts().hardware_id)
            await self._follow(self._look())
            if self._voice is not None and time.monotonic() >= self._ask_at:
                self._voice.ask()
                self._ask_at = time.monotonic() + ASK_SECONDS * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load
            hintfile.write(self._out, self._table.without(self._node, time.monotonic()))
            self._say("announces and listens" if self._voice is not None else "there is no LAN")
        except (Rejected, Retryable, OSError) as error:
            self._say(f"does not run: {error}")

    async def run(self, stopping: asyncio.Event, alive: Callable[[], None]) -> None:
        """Turns, earlier where something new was heard, until it is to stop."""
        try:
            while not stopping.is_set():
                await self.turn()
                alive()
                await _first(LOOK_SECONDS, stopping, self._news)
                if self._news.is_set():
                    await _first(GATHER_SECONDS, stopping)
                    self._news.clear()
        finally:
            await self._close()

    async def _follow(self, lan: Lan) -> None:
        """Another address, another voice: what was announced before is not true any more."""
        if lan == self._lan and (self._voice is None or self._voice.works):
            return
        await self._close()
        if lan.senders:
            voice = Voice(self._node, self._port, lan, self._heard)
            try:
                await voice.open()
            except BaseException:
                await voice.aclose()
                raise
            self._voice, self._ask_at = voice, 0.0
        self._lan = lan

    def _heard(self, node: str, address: str) -> None:
        if node != self._node and self._table.heard(node, address, time.monotonic()):
            self._news.set()

    def _say(self, text: str) -> None:
        """Each state once."""
        if text != self._said:
            self._said = text
            self._log.info("discovery", state=text, addresses=list(self._lan.own))

    async def _close(self) -> None:
        voice, self._voice, self._lan = self._voice, None, Lan()
        if voice is not None:
            await voice.aclose()


async def _first(seconds: float, *events: asyncio.Event) -> None:
    tasks = [asyncio.ensure_future(one.wait()) for one in events]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


ABOUT = (
    "Announces this node on the LAN (mDNS), and writes down where its siblings announce themselves, for Edge Commander"
    " to try. Without it siblings are found at their addresses in the roster."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="galley-discovery", description=ABOUT)
    parser.add_argument("--out", type=Path, default=Path(hintfile.PATH), help="where the hints go")
    parser.add_argument("--machine", default="host", help="`host`, or `file:<path>` that plays one")
    parser.add_argument("--port", type=int, default=9411, help="the port that is announced")
    parser.add_argument("--interface", action="append", default=[], help="a LAN's interface; may be given again")
    options = parser.parse_args(argv)
    log = logs.configure("discovery")
    logging.getLogger("zeroconf").setLevel(logging.CRITICAL)  # no stranger's datagram fills the journal
    try:
        machine = open_machine(options.machine)
    except Rejected as error:
        parser.error(str(error))
    asyncio.run(_serve(Discovery(machine, options.port, options.out, lambda: choose(look(), options.interface), log)))
    return 0


async def _serve(discovery: Discovery) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    tell = notifier()
    tell.ready()
    await discovery.run(stopping, tell.watchdog)
    tell.stopping()


if __name__ == "__main__":
    sys.exit(main())
