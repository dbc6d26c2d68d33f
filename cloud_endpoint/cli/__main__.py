"""`galley`: the platform team's command. Speaks the endpoint's API with a key of its own (`private_key_jwt`)."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from agents.core.errors import ConfigError, Rejected, Retryable
from cloud_endpoint.cli import profile
from cloud_endpoint.cli.client import Client
from cloud_endpoint.cli.command import help as command_help
from cloud_endpoint.cli.commands import COMMANDS, DEVICE_COLUMNS, WAITING_COLUMNS
from cloud_endpoint.cli.output import as_json, table
from cloud_endpoint.cli.problems import BadInput
from cloud_endpoint.cli.spec import Command


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0 done, 1 refused or not reached, 2 the command line is wrong, 3 not accepted or not done,
    78 the profile is wrong, 130 interrupted."""
    options = build_parser().parse_args(argv)
    if threading.current_thread() is threading.main_thread():
        # asyncio's own would only note the first Ctrl-C where a person is asked, and go on.
        signal.signal(signal.SIGINT, _interrupted)
    try:
        answer = asyncio.run(_run(options.command, options))
    except ConfigError as error:
        for problem in error.problems:
            print(f"galley: {problem}", file=sys.stderr)
        return 78
    except BadInput as error:
        for problem in error.problems:
            print(f"galley: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except (Rejected, Retryable) as error:
        print(f"galley: {error}", file=sys.stderr)
        return 1
    print(show(options.command, options, answer))
    return options.command.status(answer, options) if options.command.status else 0


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


OUTPUT = "a table for people, json for scripts (default: table)"
GROUPS = {
    "command": command_help.GROUP,
    "operator": "people and scripts that may ask the endpoint",
    "operators": "documents of the keys that sign for the whole fleet",
    "epoch": "how often a site had a cluster",
}
"""What a group is about, where the plural of its name does not say it."""


def build_parser() -> argparse.ArgumentParser:
    """All commands and flags."""
    parser = argparse.ArgumentParser(prog="galley", description="Look after a fleet of sites.")
    profile.add_flags(parser)
    parser.add_argument("--output", choices=["table", "json"], default="table", help=OUTPUT)
    top = parser.add_subparsers(metavar="COMMAND", required=True)
    groups: dict[str, Any] = {}
    for command in COMMANDS:
        under = top
        if len(command.words) == 2:
            if command.words[0] not in groups:
                group = top.add_parser(command.words[0], help=GROUPS.get(command.words[0], f"{command.words[0]}s"))
                groups[command.words[0]] = group.add_subparsers(metavar="VERB", required=True)
            under = groups[command.words[0]]
        own = under.add_parser(
            command.words[-1],
            help=command.help,
            description=command.help,
            epilog=command.more() if command.more else None,
            formatter_class=argparse.RawDescriptionHelpFormatter if command.more else argparse.HelpFormatter,
        )
        for name, keywords in command.flags:
            own.add_argument(name, **keywords)
        # After the verb too, where one looks for it; the default there must not undo what stood before.
        own.add_argument("--output", choices=["table", "json"], default=argparse.SUPPRESS, help=OUTPUT)
        own.set_defaults(command=command)
    return parser


async def _run(command: Command, options: argparse.Namespace) -> Any:
    if command.is_local(options):
        return await command.run(None, options)
    client = Client(profile.load(options))
    try:
        return await command.run(client, options)
    finally:
        await client.aclose()


def show(command: Command, options: argparse.Namespace, answer: Any) -> str:
    """The text of an answer."""
    columns = command.columns
    if command.words == ("device", "list"):
        columns = WAITING_COLUMNS if options.waiting else DEVICE_COLUMNS
    if options.output == "json" or not columns:
        return as_json(answer)
    if command.rows is not None:
        answer = command.rows(answer)
    return table(answer if isinstance(answer, list) else [answer], columns)


if __name__ == "__main__":
    sys.exit(main())
