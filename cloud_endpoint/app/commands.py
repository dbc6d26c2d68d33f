"""Handlers of commands: nodes fetch theirs, operators send signed ones, the endpoint signs its own four verbs."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress

from aiohttp import web

from agents.contracts.command import Command, CommandsAnswer, SignedCommand
from agents.core.command_rules import ENDPOINT_MAY_SIGN
from agents.core.command_verify import CommandKeys, CommandRefused, read_command, sign_command, verify_command
from agents.core.jose import thumbprint
from cloud_endpoint.app.io import answer, read_json, read_query
from cloud_endpoint.app.services import Services, principal, services
from cloud_endpoint.problem import Problem
from cloud_endpoint.records import CommandRecord, NextCommand
from cloud_endpoint.requests import CommandAsk, CommandsQuery
from cloud_endpoint.store import audit, fleet, signers
from cloud_endpoint.store import commands as queue
from cloud_endpoint.store.port import Tx

RECHECK = 5.0
"""A waiting request reads the queue anew at least this often, s: the command may have come to another replica."""


async def commands(request: web.Request) -> web.Response:
    """The node's waiting commands, by long poll."""
    shared, node = services(request), principal(request).subject
    asked = read_query(request, CommandsQuery)
    if asked.after > await shared.store.read(lambda tx: queue.highest(tx, node)):
        await shared.store.write(lambda tx: _learn(tx, node, asked.after))
        shared.log.warning("a node used sequences that this store does not know", node=node, sequence=asked.after)
    deadline = shared.clock.monotonic() + asked.wait
    event, end = shared.topics.subscribe(f"commands:{node}")
    try:
        while True:
            event.clear()
            found = await shared.store.read(lambda tx: queue.waiting(tx, node, asked.after))
            left = deadline - shared.clock.monotonic()
            if found or left <= 0 or shared.stopping.is_set():
                return answer(CommandsAnswer(commands=found))
            with suppress(TimeoutError):
                await _wait(event, min(left, RECHECK))
    finally:
        end()


def _learn(tx: Tx, node: str, sequence: int) -> None:
    queue.consumed(tx, node, sequence)
    detail = f"the node used sequences up to {sequence}: was this store restored from an older one?"
    audit.add(tx, node, "commands", node, outcome="learnt", detail=detail)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        await event.wait()


async def node_commands(request: web.Request) -> web.Response:
    """A node's queue and answers."""
    node = request.match_info["node"]
    return answer(await services(request).store.read(lambda tx: queue.of_node(tx, node)))


async def fleet_command(request: web.Request) -> web.Response:
    """The command of an id, where the login may see its site."""
    found = await services(request).store.read(lambda tx: queue.of_id(tx, request.match_info["id"]))
    if found is None or not principal(request).may_see(found.site):
        raise Problem(404, "no such command, or not yours")
    return answer(found)


async def next_command(request: web.Request) -> web.Response:
    """What a person must sign."""
    node = request.match_info["node"]
    return answer(await services(request).store.read(lambda tx: _next(tx, node)))


async def command(request: web.Request) -> web.Response:
    """An operator's signed command. Whatever is wrong with it, it is refused and audited."""
    node = request.match_info["node"]
    try:
        signed = await read_json(request, SignedCommand)
    except Problem as problem:
        await _refused(request, node, "not-signed", problem.detail)
        raise
    return await _take(request, node, signed)


async def command_request(request: web.Request) -> web.Response:
    """A command that the endpoint signs itself: four verbs, no more."""
    shared, node = services(request), request.match_info["node"]
    asked = await read_json(request, CommandAsk)
    if asked.verb not in ENDPOINT_MAY_SIGN:
        detail = f"{asked.verb.value} needs an operator's signature: send it signed"
        await _refused(request, node, "verb", detail)
        raise Problem(403, detail)
    ready = await shared.store.read(lambda tx: _next(tx, node))
    now = shared.clock.wall_ms() // 1000
    unsigned = Command(
        id=secrets.token_hex(16),
        verb=asked.verb,
        site=ready.site,
        node=node,
        sequence=ready.sequence,
        challenge=ready.challenge,
        issued=now,
        expires=now + asked.valid_seconds,
        args=asked.args,
    )
    return await _take(request, node, sign_command(unsigned, [shared.command_key]))


async def _take(request: web.Request, node: str, signed: SignedCommand) -> web.Response:
    shared, who = services(request), principal(request)
    try:
        stored = await shared.store.write(lambda tx: _store(tx, shared, node, signed, who.subject))
    except CommandRefused as error:
        await _refused(request, node, error.code, str(error))
        raise Problem(422, f"{error.code}: {error}") from None
    return answer(stored, 201)


def _store(tx: Tx, shared: Services, node: str, signed: SignedCommand, by: str) -> CommandRecord:
    challenge = queue.challenge(tx, node)
    operators, threshold = signers.of(tx)
    needed, because = signers.asked_for(tx, read_command(signed), threshold, shared.settings.blast_radius)
    checked = verify_command(
        signed,
        CommandKeys(
            operators=operators,
            endpoint={thumbprint(shared.command_key.public): shared.command_key.public},
            threshold=threshold,
        ),
        site=fleet.site_of(tx, node) or "",
        node=node,
        now=tx.now_ms // 1000,
        after=queue.highest(tx, node),
        challenges=frozenset({challenge} if challenge else ()),
        operators_needed=needed,
        because=because,
    )
    if queue.known_id(tx, checked.id):
        raise CommandRefused("id", "a command with this id was sent before")
    queue.add(tx, checked, signed, by)
    audit.add(tx, by, f"command {checked.verb.value}", node, detail=f"sequence {checked.sequence}, id {checked.id}")
    return queue.of_node(tx, node, 1)[0]


def _next(tx: Tx, node: str) -> NextCommand:
    return NextCommand(
        node=node,
        site=fleet.site_of(tx, node) or "",
        sequence=queue.highest(tx, node) + 1,
        challenge=queue.challenge(tx, node) or "",
    )


async def _refused(request: web.Request, node: str, code: str, detail: str) -> None:
    shared, who = services(request), principal(request)
    source = request.remote or ""
    await shared.store.write(
        lambda tx: audit.add(
            tx, who.subject, "command", node, outcome="refused", detail=f"{code}: {detail}", source=source
        )
    )
    shared.log.warning("a command was refused", node=node, by=who.subject, code=code)
