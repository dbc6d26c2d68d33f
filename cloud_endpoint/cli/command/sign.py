"""`galley command sign`: an operator's signature under commands, the first one or one more. Touches key and file."""

from __future__ import annotations

import argparse
import secrets
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from agents.core.command_verify import COMMAND_TYPE, sign_command
from agents.core.errors import Rejected
from agents.core.jose import Signer, thumbprint
from agents.core.signed import signature
from cloud_endpoint.cli.client import Client
from cloud_endpoint.cli.command import asked, file, needed
from cloud_endpoint.cli.command.asked import VALID, Asked
from cloud_endpoint.cli.command.terminal import confirm, tell
from cloud_endpoint.cli.command.words import row, told
from cloud_endpoint.cli.problems import BadInput
from cloud_endpoint.records import NextCommand
from cloud_endpoint.signing.keys import operators_key

MAX_SIGNATURES = 4


async def sign(client: Client | None, options: argparse.Namespace) -> Any:
    """A new file with signed commands, or one more signature in one."""
    return await _new(client, options) if client is not None else _add(options)


async def show(client: None, options: argparse.Namespace) -> Any:
    """What a file says."""
    pairs = file.read(options.file)
    tell(told([command for command, _ in pairs], int(time.time())))
    return [row(command, signed) for command, signed in pairs]


async def nodes_of(client: Client, wanted: Asked) -> list[str]:
    """The nodes that are meant: those named, or the site's that are enrolled; raises Rejected where there is none."""
    if wanted.nodes:
        return list(wanted.nodes)
    found = await client.call("GET", f"/v1/fleet/nodes?site={quote(wanted.site)}")
    left_out = [f"{one['node']} is {one['status']}: left out" for one in found if one["status"] != "enrolled"]
    tell(left_out)
    nodes = [str(one["node"]) for one in found if one["status"] == "enrolled"]
    if not nodes:
        raise Rejected(f"site {wanted.site} has no enrolled node, says the endpoint")
    return nodes


async def _new(client: Client, options: argparse.Namespace) -> Any:
    wanted, problems = asked.read(
        options.verb or "",
        options.node,
        options.site,
        targets=options.target,
        args=options.arg,
        valid=options.valid or VALID,
    )
    key = _key(options.key, problems)
    if options.out is None:
        problems.append("-o FILE is needed: where the signed commands go")
    elif why := file.check_new(options.out):
        problems.append(why)
    if wanted is None or key is None or problems:
        raise BadInput(problems)
    ready = await _ready(client, wanted)
    commands = asked.payloads(wanted, ready, int(time.time()), lambda: secrets.token_hex(16))
    of_document = await needed.threshold(client)
    lines = [f"To be signed with {options.key} (key {thumbprint(key.public)}):"]
    lines += told(commands, int(time.time()), of_document)
    lines += [] if wanted.site else ["the site is what the endpoint says of the node"]
    lines += [] if wanted.nodes else ["these are the site's nodes as the endpoint says"]
    confirm(lines, yes=options.yes)
    signed = [sign_command(one, [key]) for one in commands]
    file.write(options.out, signed)
    more = sorted({needed.missing(one, 1, of_document) for one in commands} - {""})
    tell([f"{one}: galley command sign --add {options.out} --key KEY" for one in more])
    return [
        row(command, one, needs=needed.missing(command, 1, of_document), file=str(options.out))
        for command, one in zip(commands, signed, strict=True)
    ]


def _add(options: argparse.Namespace) -> Any:
    path: Path = options.add
    given = [options.verb, options.node, options.site, options.target, options.arg, options.valid]
    problems = ["--add signs what the file says: no VERB, NODE or flag can change it"] if any(given) else []
    key = _key(options.key, problems)
    out = options.out or path
    if options.out is not None and (why := file.check_new(out)):
        problems.append(why)
    pairs, now = _read(path, problems), int(time.time())
    problems += file.expired(path, pairs, now)
    kid = thumbprint(key.public) if key is not None else ""
    rows = [row(command, signed) for command, signed in pairs]
    problems += [f"{path}: {one['node']}: this key has signed already" for one in rows if kid in one["signed_by"]]
    if any(len(one.signatures) >= MAX_SIGNATURES for _, one in pairs):
        problems.append(f"{path}: has {MAX_SIGNATURES} signatures already: there can be no more")
    if key is None or problems:
        raise BadInput(problems)
    others = sorted({one for each in rows for one in each["signed_by"]})
    lines = [f"To be signed with {options.key} (key {kid}), signed before by {', '.join(others)}:"]
    confirm([*lines, *told([command for command, _ in pairs], now)], yes=options.yes)
    signed = [
        msgspec.structs.replace(one, signatures=[*one.signatures, signature(one.payload, key, COMMAND_TYPE)])
        for _, one in pairs
    ]
    file.write(out, signed, replace=options.out is None)
    return [row(pair[0], one, file=str(out)) for pair, one in zip(pairs, signed, strict=True)]


def _key(text: str | None, problems: list[str]) -> Signer | None:
    if text is None:
        problems.append("--key KEY is needed: a key file, ssh-agent:COMMENT or a pkcs11: URI")
        return None
    try:
        return operators_key(text)
    except Rejected as error:
        problems.append(f"--key: {error}")
        return None


def _read(path: Path, problems: list[str]) -> list[file.Pair]:
    try:
        return file.read(path)
    except BadInput as error:
        problems += error.problems
    except Rejected as error:
        problems.append(str(error))
    return []


async def _ready(client: Client, wanted: Asked) -> list[NextCommand]:
    """What must be signed for each node; raises BadInput with all that stands against it."""
    ready, problems = [], []
    for node in await nodes_of(client, wanted):
        try:
            found = await client.call("GET", f"/v1/nodes/{quote(node)}/next-command")
            one = msgspec.convert(found, NextCommand)
        except Rejected as error:
            problems.append(f"{node}: {error}")
            continue
        except msgspec.ValidationError as error:
            problems.append(f"{node}: the endpoint's answer cannot be read: {error}")
            continue
        if one.node != node:
            problems.append(f"{node}: the endpoint answered for another node")
        ready.append(one)
    problems += asked.refused_by(wanted, ready)
    if problems:
        raise Rejected("\n".join(problems))
    return ready
