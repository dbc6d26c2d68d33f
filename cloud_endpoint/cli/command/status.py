"""`galley command status`: what came of commands, and the wait for it."""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from typing import Any
from urllib.parse import quote

from agents.contracts.ids import is_node_id, is_site_id
from agents.core.errors import Retryable
from cloud_endpoint.cli.client import Client
from cloud_endpoint.cli.command.terminal import tell
from cloud_endpoint.cli.problems import BadInput

NOT_DONE = 3
"""The exit status of `--wait` where a command ended otherwise than done."""
SECONDS = 2.0
GRACE_MS = 15 * 60 * 1000
"""How long after its expiry an answer may come from a node that took it in time."""
WAITING, EXPIRED = "waiting", "expired"


async def shown(client: Client, options: argparse.Namespace) -> Any:
    """The commands of a node, a site, or the one of an id; with `--wait` those that had not ended, once they have."""
    if problems := _problems(options):
        raise BadInput(problems)
    rows = await _rows(client, options)
    if not options.wait:
        return rows
    chosen = [one for one in rows if one["state"] == WAITING] or _newest(rows)
    ids = {one["command_id"] for one in chosen}
    told = ""
    while any(one["state"] == WAITING or _may_answer(one) for one in chosen):
        await asyncio.sleep(SECONDS)
        try:
            chosen = [one for one in await _rows(client, options) if one["command_id"] in ids]
        except Retryable as error:
            if str(error) != told:
                told = str(error)
                tell([f"galley: {told}; still waiting"])
    return chosen


def status(answer: Any, options: argparse.Namespace) -> int:
    """0; with `--wait` NOT_DONE where one ended otherwise than done."""
    return NOT_DONE if options.wait and any(one["state"] != "done" for one in answer) else 0


def state(command: Any, now_ms: int) -> str:
    """`done`, `failed` or `refused` as the node says; else whether it can still count."""
    if command["outcome"] is not None:
        return str(command["outcome"])
    return WAITING if command["expires_ms"] > now_ms else EXPIRED


def _may_answer(row: Any) -> bool:
    return bool(row["state"] == EXPIRED and row["expires_ms"] + GRACE_MS > _now_ms())


def _newest(rows: list[Any]) -> list[Any]:
    return list({one["node"]: one for one in sorted(rows, key=lambda one: one["sequence"])}.values())


def _now_ms() -> int:
    return int(time.time() * 1000)


def _problems(options: argparse.Namespace) -> list[str]:
    problems = []
    if sum(map(bool, (options.node, options.site, options.id))) != 1:
        problems.append("one of NODE, --site and --id is needed")
    if options.node and not is_node_id(options.node):
        problems.append(f"{options.node[:64]!r} is no node id")
    if options.site and not is_site_id(options.site):
        problems.append(f"--site: {options.site[:64]!r} is no site id")
    if options.id and not re.fullmatch("[0-9a-f]{32}", options.id):
        problems.append(f"--id: {options.id[:64]!r} is no command's id (32 hex digits)")
    return problems


async def _rows(client: Client, options: argparse.Namespace) -> list[Any]:
    if options.id:
        found = [await client.call("GET", f"/v1/fleet/commands/{options.id}")]
    else:
        nodes = [options.node]
        if options.site:
            nodes = [one["node"] for one in await client.call("GET", f"/v1/fleet/nodes?site={quote(options.site)}")]
        found = [one for node in nodes for one in await client.call("GET", f"/v1/nodes/{quote(node)}/commands")]
    now = _now_ms()
    return [{**one, "state": state(one, now)} for one in found]
