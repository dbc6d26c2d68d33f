"""`edge-commander status`: what this node is and waits for, from its socket, else its durable state. Touches both.

With `--console` the screen of a text console that is drawn anew by itself; on anything that is no terminal one screen,
without a control character.
"""

from __future__ import annotations

import argparse
import http.client
import socket as sockets
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

import msgspec

from agents.core.errors import ConfigError
from agents.io import config
from edge_commander.advice import CONFIG, advice
from edge_commander.memory import STATE_NAME, read_record
from edge_commander.settings import CommanderSettings
from edge_commander.shown import as_text, screen
from edge_commander.view import StatusDocument, of_record

MAX_ANSWER = 65536
ASK_SECONDS = 3.0
DRAW_SECONDS = 2.0
HOME, TO_LINE_END, TO_SCREEN_END, HIDE_CURSOR = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[?25l"


def main(argv: Sequence[str]) -> int:
    """0: running; 3: not running (the durable state is shown); 4: no state; 78: configuration."""
    parser = argparse.ArgumentParser(prog="edge-commander status")
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--console", action="store_true", help="a screen of 80 by 25, drawn anew by itself")
    options = parser.parse_args(argv)
    try:
        settings = config.load("edge_commander", CommanderSettings, options.config)
    except ConfigError as error:
        for problem in error.problems:
            print(f"edge-commander: {problem}", file=sys.stderr)
        return 78
    socket = Path(settings.own.socket or Path(settings.node.run_dir) / "identity.sock")
    named = str(options.config or CONFIG)
    if options.console:
        return console(lambda: ask(socket), sys.stdout, config=named, version=own_version())
    document = ask(socket)
    running = document is not None
    if document is None:
        directory = Path(settings.own.keys_dir)
        record = read_record(directory)
        if record is None:
            print(f"edge-commander: does not run, and {directory / STATE_NAME} cannot be read", file=sys.stderr)
            return 4
        document = of_record(record)
    version = own_version()
    if options.output == "json":
        more = {"running": running, "version": version, "advice": advice(document, named)}
        print(msgspec.json.encode({**msgspec.to_builtins(document), **more}).decode())
    else:
        print(as_text(document, running=running, now_ms=time.time_ns() // 10**6, config=named, version=version))
    return 0 if running else 3


def ask(socket: Path) -> StatusDocument | None:
    """Asks a running commander; None when none answers, or does not answer this user. Blocking, for 3 s at most."""
    connection = http.client.HTTPConnection("identity")
    try:
        connection.sock = sockets.socket(sockets.AF_UNIX)
        connection.sock.settimeout(ASK_SECONDS)
        connection.sock.connect(str(socket))
        connection.request("GET", "/v1/status")
        answer = connection.getresponse()
        if answer.status != 200:
            return None
        return msgspec.json.decode(answer.read(MAX_ANSWER), type=StatusDocument)
    except (http.client.HTTPException, OSError, msgspec.MsgspecError):
        return None
    finally:
        connection.close()


def console(
    look: Callable[[], StatusDocument | None],
    out: TextIO,
    *,
    config: str = CONFIG,
    version: str = "",
    now_ms: Callable[[], int] = lambda: time.time_ns() // 10**6,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Draws until it is ended, or the terminal is gone; once where `out` is no terminal."""
    terminal = out.isatty()
    try:
        while True:
            lines = screen(look(), now_ms=now_ms(), config=config, version=version)
            if not terminal:
                print("\n".join(lines), file=out)
                return 0
            # Over what is there, and not cleared before: a screen that is drawn anew must not flicker.
            out.write(HIDE_CURSOR + HOME + "\n".join(line + TO_LINE_END for line in lines) + TO_SCREEN_END)
            out.flush()
            sleep(DRAW_SECONDS)
    except KeyboardInterrupt:
        return 0
    except OSError:
        return 4


def own_version() -> str:
    """Of the suite, as it is installed here."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("galley")
    except PackageNotFoundError:
        return ""
