"""Handlers that read: the fleet as people and the page ask for it. A login for one site sees that site alone."""

from __future__ import annotations

from aiohttp import web

from cloud_endpoint.app.io import answer, read_query
from cloud_endpoint.app.services import principal, services
from cloud_endpoint.problem import Problem
from cloud_endpoint.records import SiteView, StreamsView
from cloud_endpoint.requests import HistoryQuery, SiteQuery
from cloud_endpoint.store import audit, fleet, grants, ingest, sites, voters, wipe_grants
from cloud_endpoint.store.port import Tx


def visible(request: web.Request) -> str | None:
    """The site that a list is limited to: the query's, or the login's own; None for all. Raises Problem 403."""
    who, asked = principal(request), read_query(request, SiteQuery).site
    if asked and not who.may_see(asked):
        raise Problem(403, "another site")
    return asked or who.site


async def fleet_sites(request: web.Request) -> web.Response:
    """Sites."""
    only = principal(request).site
    return answer(await services(request).store.read(lambda tx: sites.every(tx, only=only)))


async def fleet_site(request: web.Request) -> web.Response:
    """All of one site."""
    site = request.match_info["site"]
    view = await services(request).store.read(lambda tx: site_view(tx, site))
    if view is None:
        raise Problem(404, "no such site")
    return answer(view)


def site_view(tx: Tx, site: str) -> SiteView | None:
    """All of one site in one snapshot."""
    found = sites.get(tx, site)
    if found is None:
        return None
    return SiteView(
        site=found,
        nodes=fleet.nodes(tx, site=site),
        deployments=fleet.deployments(tx, site=site),
        synthetics=fleet.synthetics(tx, site=site),
        alerts=audit.alerts(tx, site=site),
        grants=grants.every(tx, site),
        voters=voters.of(tx, site, found.epoch),
        now_ms=tx.now_ms,
        wipe_grant=wipe_grants.of(tx, site),
    )


async def fleet_history(request: web.Request) -> web.Response:
    """Stored messages of one kind."""
    site, asked = request.match_info["site"], read_query(request, HistoryQuery)
    found = await services(request).store.read(
        lambda tx: fleet.history(tx, site, asked.kind, key=asked.key, before=asked.before, limit=asked.limit)
    )
    return answer(found)


async def fleet_nodes(request: web.Request) -> web.Response:
    """Nodes."""
    only = visible(request)
    return answer(await services(request).store.read(lambda tx: fleet.nodes(tx, site=only)))


async def fleet_streams(request: web.Request) -> web.Response:
    """What of a node arrived, was dropped, could not be read."""
    node = request.match_info["node"]
    found = await services(request).store.read(
        lambda tx: StreamsView(
            streams=ingest.streams(tx, node), gaps=ingest.gaps(tx, node), dead_letters=ingest.dead_letters(tx, node)
        )
    )
    return answer(found)


async def fleet_deployments(request: web.Request) -> web.Response:
    """The last word on each app."""
    only = visible(request)
    return answer(await services(request).store.read(lambda tx: fleet.deployments(tx, site=only)))


async def fleet_synthetics(request: web.Request) -> web.Response:
    """The last window of each step."""
    only = visible(request)
    return answer(await services(request).store.read(lambda tx: fleet.synthetics(tx, site=only)))


async def fleet_alerts(request: web.Request) -> web.Response:
    """Alerts."""
    only = visible(request)
    return answer(await services(request).store.read(lambda tx: audit.alerts(tx, site=only)))
