"""Handlers of wipes: a node asks for its site's grant, an operator gives one back that nobody will."""

from __future__ import annotations

from aiohttp import web

from agents.contracts.wipe import WipeGrantAsk
from cloud_endpoint.app.io import answer, read_json
from cloud_endpoint.app.services import principal, services
from cloud_endpoint.problem import Problem
from cloud_endpoint.records import Done
from cloud_endpoint.store import sites, wipe_grants
from cloud_endpoint.store.port import Tx


async def wipe_grant(request: web.Request) -> web.Response:
    """Whether the token's node may begin with its wipe; answers after it is on disk."""
    asked = await read_json(request, WipeGrantAsk)
    shared, who = services(request), principal(request)
    interval = float(shared.settings.beat_seconds)
    said = await shared.store.write(
        lambda tx: wipe_grants.ask(tx, who.subject, who.site or "", asked.command_id, interval=interval)
    )
    if not said.granted:
        shared.log.warning("a wipe was not granted", node=who.subject, id=asked.command_id, cause=said.why)
    return answer(said)


async def wipe_release(request: web.Request) -> web.Response:
    """Gives the site's grant back."""
    site, who = request.match_info["site"], principal(request).subject

    def work(tx: Tx) -> bool | None:
        return None if sites.get(tx, site) is None else wipe_grants.release(tx, site, who)

    changed = await services(request).store.write(work)
    if changed is None:
        raise Problem(404, "no such site")
    return answer(Done(changed=changed))
