"""`galley node diagnostics`: lists a node's bundles, asks for one, waits for it, fetches it. Touches the out file."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agents.core.errors import Rejected, Retryable
from cloud_endpoint.cli.arguments import NODE
from cloud_endpoint.cli.client import Client
from cloud_endpoint.cli.spec import Command

LOOK_SECONDS = 2.0
WAIT_SECONDS = 1800.0


async def diagnostics(client: Client, options: argparse.Namespace) -> Any:
    """The node's bundles; with `--ask` after a new one is there, with `-o` after one was fetched."""
    node = quote(options.device)
    command = ""
    if options.ask:
        command = await _asked(client, node, time.monotonic() + options.wait)
        await _made(client, node, command, time.monotonic() + options.wait)
    found = await _listed(client, node)
    if options.out is None:
        return found
    one = await _sent(client, node, command, time.monotonic() + options.wait) if command else _newest(found)
    await client.download(f"/v1/admin/nodes/{node}/diagnostics/{one['id']}", options.out, one["size"], one["sha256"])
    _say(f"{options.out}: {one['size']} bytes")
    return [one]


async def _listed(client: Client, node: str) -> list[dict[str, Any]]:
    return list(await client.call("GET", f"/v1/admin/nodes/{node}/diagnostics"))


async def _asked(client: Client, node: str, end: float) -> str:
    """The id of the command, sent once the node can take one: each needs a new challenge of the node's."""
    told = False
    while not (await client.call("GET", f"/v1/nodes/{node}/next-command"))["challenge"]:
        if time.monotonic() >= end:
            raise Retryable("the node published no challenge in time: is it reached at all?")
        if not told:
            _say("waits for the node's next challenge")
        told = True
        await asyncio.sleep(LOOK_SECONDS)
    asked = await client.call("POST", f"/v1/nodes/{node}/requests", {"verb": "collect-diagnostics"})
    return str(asked["command_id"])


def _newest(found: list[dict[str, Any]]) -> dict[str, Any]:
    whole = [one for one in found if one["whole_ms"]]
    if not whole:
        raise Rejected("no bundle of this node is here whole: ask for one with --ask")
    return whole[0]


async def _made(client: Client, node: str, command: str, end: float) -> None:
    """Until the node answers the command. Raises Rejected where it says that it made none."""
    _say("waits for the node to collect")
    while time.monotonic() < end:
        answers = await _patiently(client, f"/v1/nodes/{node}/commands")
        one = next((one for one in answers if one["command_id"] == command), None)
        if one is not None and one["outcome"]:
            if one["outcome"] != "done":
                raise Rejected(f"the node made no bundle ({one['outcome']}): {meant(str(one['detail']))}")
            _say(f"lies on the node: {one['detail']}")
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise Retryable("the node did not answer in time; the command stands until it expires")


def meant(detail: str) -> str:
    """A node's words on why it made none, with the meaning of what it cannot know of itself."""
    if "/machine.sock: " not in detail:
        return detail
    half = "galley-machine.socket, which collects it, does not answer on the node"
    return f"{half}: `systemctl status galley-machine.socket` there ({detail})"


async def _sent(client: Client, node: str, command: str, end: float) -> dict[str, Any]:
    """Until the bundle of the command is whole here."""
    told = -1
    while time.monotonic() < end:
        found = await _patiently(client, f"/v1/admin/nodes/{node}/diagnostics")
        one: dict[str, Any] | None = next((one for one in found if one["command_id"] == command), None)
        if one is not None and one["whole_ms"]:
            return one
        part = 0 if one is None else one["received"] * 100 // one["size"]
        if part != told:
            told = part
            _say(f"{part} % came")
        await asyncio.sleep(LOOK_SECONDS)
    raise Retryable("the bundle did not come in time; it goes on by itself, look again without --ask")


async def _patiently(client: Client, path: str) -> list[dict[str, Any]]:
    """Nothing where the endpoint cannot be reached just now: the wait goes on."""
    try:
        return list(await client.call("GET", path))
    except Retryable as error:
        _say(str(error))
        return []


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


DIAGNOSTICS: tuple[Command, ...] = (
    Command(
        ("node", "diagnostics"),
        "a node's diagnostics bundles: list, ask for one, fetch one",
        diagnostics,
        [
            NODE,
            ("--ask", {"action": "store_true", "help": "have the node collect a new one, and wait for its answer"}),
            (
                "-o",
                {"dest": "out", "type": Path, "metavar": "FILE", "help": "fetch the newest one (the one asked for)"},
            ),
            ("--wait", {"type": float, "default": WAIT_SECONDS, "metavar": "SECONDS", "help": "default: 1800"}),
        ],
        ("id", "node", "size", "received", "opened_ms", "whole_ms", "command_id"),
    ),
)
