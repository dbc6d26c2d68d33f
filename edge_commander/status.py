"""`edge-commander status`: what this node is and waits for, from its durable state and its socket. Touches both."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from agents.core.errors import ConfigError, Retryable
from agents.io import config
from edge_commander.memory import STATE_NAME, read_record
from edge_commander.settings import CommanderSettings
from edge_commander.view import StatusDocument, advice, of_record

MAX_ANSWER = 65536


def main(argv: Sequence[str]) -> int:
    """0: running; 3: not running (the durable state is shown); 4: no state; 78: configuration."""
    parser = argparse.ArgumentParser(prog="edge-commander status")
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    options = parser.parse_args(argv)
    try:
        settings = config.load("edge_commander", CommanderSettings, options.config)
    except ConfigError as error:
        for problem in error.problems:
            print(f"edge-commander: {problem}", file=sys.stderr)
        return 78
    socket = Path(settings.own.socket or Path(settings.node.run_dir) / "identity.sock")
    document = asyncio.run(ask(socket))
    running = document is not None
    if document is None:
        directory = Path(settings.own.keys_dir)
        record = read_record(directory)
        if record is None:
            print(f"edge-commander: does not run, and {directory / STATE_NAME} cannot be read", file=sys.stderr)
            return 4
        document = of_record(record)
    if options.output == "json":
        print(msgspec.json.encode({**msgspec.to_builtins(document), "running": running}).decode())
    else:
        print(as_text(document, running))
    return 0 if running else 3


async def ask(socket: Path) -> StatusDocument | None:
    """Asks a running commander; None when none answers, or does not answer this user."""
    import aiohttp

    from agents.io.http import read_limited

    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path=str(socket)), timeout=aiohttp.ClientTimeout(total=3)
            ) as session,
            session.get("http://identity/v1/status") as answer,
        ):
            if answer.status != 200:
                return None
            return msgspec.json.decode(await read_limited(answer, MAX_ANSWER), type=StatusDocument)
    except (aiohttp.ClientError, OSError, TimeoutError, msgspec.MsgspecError, Retryable):
        return None


def as_text(document: StatusDocument, running: bool) -> str:
    """The same for people."""
    since = datetime.fromtimestamp(document.since / 1000, UTC).isoformat(timespec="seconds")
    lines = [
        f"node     {document.node or 'not known yet'}",
        f"site     {document.site or 'none yet'}",
        f"state    {document.state.value}",
        f"reason   {document.reason or 'none: all is well'}",
        f"since    {since}",
        f"daemon   {'running' if running else 'not running: this is what it last wrote'}",
    ]
    if running:
        lines.append(f"outbox   {document.pending} message(s) not yet at the endpoint")
    if document.secrets:
        behind = f", its servers run by {document.runs}" if document.runs != document.secrets else ""
        lines.append(f"secrets  generation {document.secrets}{behind}")
    if document.trust is not None:
        lines += document.trust.lines()
    if document.snapshot is not None:
        lines.append(document.snapshot.line())
    if hint := advice(document):
        lines.append(f"you can  {hint}")
    return "\n".join(lines)
