"""`galley command send` and `ask`: commands to the endpoint, each node's once. Reads the signed file."""

from __future__ import annotations

import argparse
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from agents.core.command_rules import RULES, Signer
from agents.core.errors import Rejected, Retryable
from cloud_endpoint.cli.client import Client
from cloud_endpoint.cli.command import asked, file, needed
from cloud_endpoint.cli.command.asked import VALID
from cloud_endpoint.cli.command.sign import nodes_of
from cloud_endpoint.cli.command.words import line, signers
from cloud_endpoint.cli.problems import BadInput

NOT_SENT = 1
MIN_ASKED = 10
OPERATORS_SIGN = frozenset(verb.value for verb, rule in RULES.items() if rule.signer is not Signer.ENDPOINT)
_ANEW = "; sign anew: the node got another command, or has a new challenge"
_HINTS = {
    "sequence": _ANEW,
    "challenge": _ANEW,
    "threshold": "; another operator adds his signature: galley command sign --add FILE --key KEY",
}


async def send(client: Client, options: argparse.Namespace) -> Any:
    """Gives the endpoint a file's commands; raises BadInput, and sends none, where one cannot count."""
    path: Path = options.file
    pairs = file.read(path)
    problems = file.expired(path, pairs, int(time.time()))
    of_document = await needed.threshold(client)
    for command, signed in pairs:
        if lacking := needed.missing(command, len(signers(signed)), of_document):
            problems.append(f"{path}: {lacking} (galley command sign --add {path}): {line(command)}")
    if problems:
        raise BadInput(problems)
    rows = []
    for command, signed in pairs:

        async def give(node: str = command.node, signed: Any = signed, id_: str = command.id) -> Any:
            before = await _known(client, node, id_)
            if before is not None:
                return {**before, "result": "sent before"}
            return await client.call("POST", f"/v1/nodes/{quote(node)}/commands", msgspec.to_builtins(signed))

        rows.append(await _result(command.node, give, verb=command.verb.value, command_id=command.id))
    return rows


async def ask(client: Client, options: argparse.Namespace) -> Any:
    """Asks the endpoint for commands that it may sign itself."""
    if options.verb in OPERATORS_SIGN:
        raise BadInput([f"{options.verb} needs an operator's signature: galley command sign"])
    wanted, problems = asked.read(
        options.verb, options.node, options.site, args=options.arg, valid=options.valid or VALID
    )
    if wanted is not None and wanted.valid < MIN_ASKED:
        problems.append(f"--valid must be at least {MIN_ASKED}s")
    if wanted is None or problems:
        raise BadInput(problems)
    body = {"verb": wanted.verb.value, "args": dict(wanted.args), "valid_seconds": wanted.valid}
    rows = []
    for node in await nodes_of(client, wanted):

        async def give(node: str = node) -> Any:
            return await client.call("POST", f"/v1/nodes/{quote(node)}/requests", body)

        rows.append(await _result(node, give, verb=wanted.verb.value))
    return rows


def status(answer: Any, options: argparse.Namespace) -> int:
    """0 where the endpoint has all of them, NOT_SENT where it has not."""
    return 0 if all(one["result"] in ("sent", "sent before") for one in answer) else NOT_SENT


async def _known(client: Client, node: str, id_: str) -> Any:
    found = await client.call("GET", f"/v1/nodes/{quote(node)}/commands")
    return next((one for one in found if one["command_id"] == id_), None)


async def _result(node: str, give: Callable[[], Awaitable[Any]], **shown: Any) -> Any:
    """One node's line: what one node refuses keeps nothing from the others."""
    try:
        return {"node": node, **shown, "result": "sent", **await give()}
    except Rejected as error:
        code = str(error).partition(":")[0]
        return {"node": node, **shown, "result": "refused", "detail": f"{error}{_HINTS.get(code, '')}"}
    except Retryable as error:
        return {"node": node, **shown, "result": "not known", "detail": f"{error}; send it again"}
