"""Handlers of diagnostics bundles: nodes send theirs in pieces, people list and fetch them."""

from __future__ import annotations

import asyncio
import hashlib

from aiohttp import web

from agents.contracts.diagnostics import BundleOpen
from agents.core.errors import Rejected
from cloud_endpoint.app.io import answer, read_bytes, read_json, read_query
from cloud_endpoint.app.services import principal, services
from cloud_endpoint.problem import Problem
from cloud_endpoint.records import BundleRecord
from cloud_endpoint.requests import PieceQuery
from cloud_endpoint.store import audit
from cloud_endpoint.store import diagnostics as bundles
from cloud_endpoint.store.diagnostics import PieceRefused
from cloud_endpoint.store.port import Tx


async def bundle_open(request: web.Request) -> web.Response:
    """A node says what it is going to send."""
    asked = await read_json(request, BundleOpen)
    shared, who = services(request), principal(request)
    limits = shared.settings.diagnostics
    return answer(
        await shared.store.write(lambda tx: bundles.open_(tx, who.subject, who.site or "", asked, limits)),
    )


async def bundle_state(request: web.Request) -> web.Response:
    """How far a node's bundle came."""
    shared, who, number = services(request), principal(request), _number(request)
    return answer(await shared.store.read(lambda tx: bundles.state(tx, who.subject, who.site or "", number)))


async def bundle_piece(request: web.Request) -> web.Response:
    """One piece; answers after it is on disk."""
    asked, number = read_query(request, PieceQuery), _number(request)
    piece = await read_bytes(request)
    shared, who = services(request), principal(request)
    if hashlib.sha256(piece).hexdigest() != asked.sha256:
        raise Problem(400, "the piece is not what its digest says: it was broken on the way")
    try:
        said = await shared.store.write(
            lambda tx: bundles.append(tx, who.subject, who.site or "", number, offset=asked.offset, piece=piece)
        )
    except PieceRefused as refused:
        raise Problem(422, str(refused)) from None
    return answer(said)


async def node_diagnostics(request: web.Request) -> web.Response:
    """A node's bundles."""
    node, who = request.match_info["node"], principal(request)
    found = await services(request).store.read(lambda tx: bundles.of_node(tx, node))
    return answer([one for one in found if who.may_see(one.site)])  # it may have served another site before


async def node_bundle(request: web.Request) -> web.StreamResponse:
    """The bytes of a whole bundle; who fetched it is in the audit."""
    shared, node, number, who = services(request), request.match_info["node"], _number(request), principal(request)

    def begin(tx: Tx) -> BundleRecord:
        found = bundles.whole(tx, node, number)
        if found is None or not who.may_see(found.site):
            raise Problem(404, "no such bundle, or it is not whole yet")
        source = request.remote or ""
        audit.add(tx, who.subject, "diagnostics fetch", node, detail=f"command {found.command_id}", source=source)
        return found

    found = await shared.store.write(begin)
    response = web.StreamResponse(
        headers={
            "Content-Type": "application/gzip",
            "Content-Disposition": f'attachment; filename="{node}-{found.command_id}.tar.gz"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
    )
    response.content_length = found.size
    await response.prepare(request)
    at = 0
    while at < found.size:
        piece = await shared.store.read(lambda tx, at=at: bundles.piece(tx, number, at))  # type: ignore[misc]
        if piece is None:  # the budget took it away meanwhile: the length that was promised is not kept
            raise ConnectionResetError("the bundle is gone")
        async with asyncio.timeout(60):
            await response.write(piece)
        at += len(piece)
    await response.write_eof()
    return response


def _number(request: web.Request) -> int:
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Rejected("the id must be a number", path="id")
    return int(text)
