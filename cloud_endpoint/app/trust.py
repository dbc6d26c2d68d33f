"""Handlers of the trust documents: entries and operators' documents, which the endpoint verifies and cannot make."""

from __future__ import annotations

from aiohttp import web

from agents.contracts.signed import SignedDocument
from agents.core.trust_codes import TrustRefused
from cloud_endpoint.app.fleet import visible
from cloud_endpoint.app.io import answer, read_json, read_query
from cloud_endpoint.app.services import principal, services
from cloud_endpoint.problem import Problem
from cloud_endpoint.records import OperatorsView
from cloud_endpoint.requests import GenerationAbove, OperatorsQuery
from cloud_endpoint.store import audit
from cloud_endpoint.store import trust as store


async def entries(request: web.Request) -> web.Response:
    """Shipping entries."""
    only = visible(request)
    return answer(await services(request).store.read(lambda tx: store.entries(tx, only=only)))


async def entry_put(request: web.Request) -> web.Response:
    """An entry that an operator signed: a new one for a shipped device, or a withdrawal."""
    signed, who = await read_json(request, SignedDocument), principal(request).subject
    try:
        return answer(await services(request).store.write(lambda tx: store.put_entry(tx, signed, who)), 201)
    except TrustRefused as refused:
        raise await refusal(request, "entry put", refused) from None


async def documents(request: web.Request) -> web.Response:
    """The operators' documents, and the public key that signs rosters here."""
    shared = services(request)
    found = await shared.store.read(store.listed)
    return answer(OperatorsView(documents=found, roster_keys=[shared.roster_key.public]))


async def document_put(request: web.Request) -> web.Response:
    """The operators' document that follows the newest one."""
    asked = read_query(request, OperatorsQuery)
    signed, who = await read_json(request, SignedDocument), principal(request).subject
    orphans = asked.orphans == "allow"
    try:
        return answer(await services(request).store.write(lambda tx: store.push(tx, signed, who, orphans=orphans)), 201)
    except TrustRefused as refused:
        raise await refusal(request, "operators put", refused) from None


async def site_generation(request: web.Request) -> web.Response:
    """Raises a site's generation: nodes take no older one than they have seen."""
    asked, site, who = await read_json(request, GenerationAbove), request.match_info["site"], principal(request).subject
    return answer(await services(request).store.write(lambda tx: store.raise_generation(tx, site, asked.above, who)))


async def refusal(request: web.Request, action: str, refused: TrustRefused) -> Problem:
    """The problem to raise for a document that is not believed; it is in the audit then."""
    who, source, text = principal(request).subject, request.remote or "", f"{refused.code.value}: {refused.cause}"
    await services(request).store.write(
        lambda tx: audit.add(tx, who, action, "", outcome="refused", detail=text, source=source)
    )
    return Problem(422, text)
