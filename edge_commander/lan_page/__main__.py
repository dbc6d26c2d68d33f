"""The process `python -m edge_commander.lan_page`: serves the page, and asks the commander as seldom as a console.

It is spoken to by anybody on the LAN, so it is a process that holds nothing: no key, no token, no state. It never ends
because of its configuration: without one, or with a wrong one, the page is where it is by default, and says so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.core.settings import Listener
from agents.io.notify import notifier
from edge_commander.console.look import Look
from edge_commander.console.view import Seen, view
from edge_commander.lan_page.document import page
from edge_commander.lan_page.server import Places, listen
from edge_commander.settings import CommanderSettings

FRESH_SECONDS = 2.0
WAIT_SECONDS = 4.0
"""For a look, which takes as long as the commander takes to answer; then the last one is shown, which says its time."""
TURN_SECONDS = 2.0


class Shown:
    """The page as it is now, from one look for all who ask within two seconds."""

    def __init__(self, look: Callable[[], Seen], monotonic: Callable[[], float]) -> None:
        self._look, self._monotonic = look, monotonic
        self._at = float("-inf")
        self._body: bytes | None = None
        self._looking: asyncio.Task[None] | None = None

    async def document(self) -> bytes | None:
        """None where the first look takes too long."""
        if self._monotonic() - self._at >= FRESH_SECONDS:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._again())
            await asyncio.wait([self._looking], timeout=WAIT_SECONDS)
        return self._body

    async def _again(self) -> None:
        seen = await asyncio.to_thread(self._look)
        self._body, self._at = page(view(seen)), self._monotonic()


class LanPage:
    """Listens where the configuration says, and again when it says otherwise or the address was taken. `listener`: what
    it says now."""

    def __init__(self, shown: Shown, listener: Callable[[], Listener], say: Callable[[str], None]) -> None:
        self._shown, self._listener, self._say = shown, listener, say
        self._places = Places()
        self._server: asyncio.Server | None = None
        self._where: Listener | None = None
        self._said = ""

    async def turn(self) -> None:
        """One look at the configuration."""
        wanted = self._listener()
        if wanted == self._where:
            return
        self.close()
        try:
            if wanted.port:
                self._server = await listen(wanted.bind, wanted.port, self._places, self._shown.document)
            self._where = wanted
            self._tell(f"serves {wanted.bind}:{wanted.port}" if wanted.port else "is turned off")
        except (OSError, OverflowError, ValueError) as error:  # a name that cannot be one at all is a ValueError
            self._tell(f"{wanted.bind}:{wanted.port} cannot be had yet: {getattr(error, 'strerror', None) or error}")

    def close(self) -> None:
        """Listens no more; who is connected is served."""
        if self._server is not None:
            self._server.close()
        self._server = self._where = None

    def _tell(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._say(text)


ABOUT = (
    "Serves what this node is, what it waits for and what a person can do as a page on the LAN, at the address and port"
    " of edge_commander.page; a page to read, without a login."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="galley-lan-page", description=ABOUT)
    parser.add_argument("--config", type=Path, metavar="FILE", help="read this file alone (and the environment)")
    options = parser.parse_args(argv)
    asyncio.run(_serve(options.config))
    return 0


async def _serve(config: Path | None) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    own = Look(config)
    last = CommanderSettings().page

    def listener() -> Listener:
        nonlocal last
        settings = own.config().settings
        last = settings.own.page if settings is not None else last
        return last

    lan_page = LanPage(Shown(Look(config), loop.time), listener, lambda text: print(f"the page {text}", flush=True))
    tell = notifier()
    await lan_page.turn()
    tell.ready()
    while not stopping.is_set():
        tell.watchdog()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), TURN_SECONDS)
        await lan_page.turn()
    tell.stopping()
    lan_page.close()


if __name__ == "__main__":
    sys.exit(main())
