"""Handlers of signed reports on the acceptance of sites, which the endpoint verifies and cannot make."""

from __future__ import annotations

from aiohttp import web

from agents.contracts.signed import SignedDocument
from cloud_endpoint.app.io import answer, read_json
from cloud_endpoint.app.services import principal, services
from cloud_endpoint.problem import Problem
from cloud_endpoint.rules.acceptance_report import AcceptanceRefused
from cloud_endpoint.store import acceptances, audit


async def last(request: web.Request) -> web.Response:
    """The last report."""
    site = request.match_info["site"]
    found = await services(request).store.read(lambda tx: acceptances.last(tx, site))
    if found is None:
        raise Problem(404, "no report on the acceptance of this site is stored")
    return answer(found)


async def put(request: web.Request) -> web.Response:
    """One more report. One whose signature or content does not count is refused, and in the audit."""
    signed, site, who = await read_json(request, SignedDocument), request.match_info["site"], principal(request).subject
    store, source = services(request).store, request.remote or ""
    try:
        return answer(await store.write(lambda tx: acceptances.put(tx, site, signed, who)), 201)
    except AcceptanceRefused as refused:
        text = refused.cause
        await store.write(
            lambda tx: audit.add(tx, who, "site acceptance", site, outcome="refused", detail=text, source=source)
        )
        raise Problem(422, f"acceptance: {text}") from None
