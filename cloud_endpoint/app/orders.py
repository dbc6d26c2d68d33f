"""Handlers of orders to sites. Where the fleet has operators, the endpoint verifies orders and cannot make any."""

from __future__ import annotations

from aiohttp import web

from agents.core.trust_codes import TrustRefused
from cloud_endpoint.app.io import answer, read_json
from cloud_endpoint.app.services import principal, services
from cloud_endpoint.app.trust import refusal
from cloud_endpoint.problem import Problem
from cloud_endpoint.requests import OrderPut
from cloud_endpoint.store import orders, trust


async def listed(request: web.Request) -> web.Response:
    """The newest order of each kind."""
    site = request.match_info["site"]
    return answer(await services(request).store.read(lambda tx: orders.listed(tx, site)))


async def put(request: web.Request) -> web.Response:
    """One more order."""
    asked, site, who = await read_json(request, OrderPut), request.match_info["site"], principal(request).subject
    given = asked.signed or asked.order
    if given is None or (asked.signed is not None and asked.order is not None):
        raise Problem(400, "Expected one of `signed` and `order` - at `$`")
    shared = services(request)
    try:
        return answer(
            await shared.store.write(lambda tx: trust.put_order(tx, site, given, shared.roster_key, who)), 201
        )
    except TrustRefused as refused:
        raise await refusal(request, "site order", refused) from None
