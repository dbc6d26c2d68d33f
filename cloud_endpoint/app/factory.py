"""Builds the HTTP application from the table of routes; a route without a handler is a bug that shows at the start."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version

import msgspec
from aiohttp import web

from cloud_endpoint import openapi
from cloud_endpoint.app import acceptance, admin, commands, device, fleet, orders, trust, wipes
from cloud_endpoint.app.gate import Handler, make_gate, problems
from cloud_endpoint.app.services import SERVICES, Services
from cloud_endpoint.app.token import token
from cloud_endpoint.route import Route
from cloud_endpoint.routes import ROUTES


@cache
def _openapi_bytes() -> bytes:
    return msgspec.json.encode(openapi.document(version("galley")))


async def openapi_document(request: web.Request) -> web.Response:
    """The description of this API."""
    return web.Response(body=_openapi_bytes(), content_type="application/json")


API_HANDLERS: dict[str, Handler] = {
    "healthz": device.healthz,
    "enrol": device.enrol,
    "token": token,
    "ingest": device.ingest,
    "site": device.site,
    "git_credential": device.git_credential,
    "echo": device.echo,
    "init_grant": device.init_grant,
    "wipe_grant": wipes.wipe_grant,
    "wipe_release": wipes.wipe_release,
    "commands": commands.commands,
    "command": commands.command,
    "command_request": commands.command_request,
    "node_commands": commands.node_commands,
    "fleet_command": commands.fleet_command,
    "next_command": commands.next_command,
    "openapi": openapi_document,
    "fleet_sites": fleet.fleet_sites,
    "fleet_site": fleet.fleet_site,
    "fleet_history": fleet.fleet_history,
    "fleet_nodes": fleet.fleet_nodes,
    "fleet_streams": fleet.fleet_streams,
    "fleet_deployments": fleet.fleet_deployments,
    "fleet_synthetics": fleet.fleet_synthetics,
    "fleet_alerts": fleet.fleet_alerts,
    "site_put": admin.site_put,
    "site_epoch": admin.site_epoch,
    "shipping": admin.shipping,
    "ship": admin.ship,
    "devices": admin.devices_list,
    "device_revoke": admin.device_revoke,
    "enrolments": admin.enrolments,
    "enrolment_approve": admin.enrolment_approve,
    "enrolment_refuse": admin.enrolment_refuse,
    "operators": admin.operators,
    "operator_add": admin.operator_add,
    "operator_revoke": admin.operator_revoke,
    "audit": admin.audit_list,
    "login_link": admin.login_link,
    "site_generation": trust.site_generation,
    "entries": trust.entries,
    "entry_put": trust.entry_put,
    "operators_documents": trust.documents,
    "operators_document_put": trust.document_put,
    "site_orders": orders.listed,
    "site_order_put": orders.put,
    "acceptance": acceptance.last,
    "acceptance_put": acceptance.put,
}


def build_app(services: Services, pages: Mapping[str, Handler] | None = None) -> web.Application:
    """The application. `pages`: handlers of PAGE_ROUTES by name. Raises KeyError for a route without a handler."""
    table: dict[web.AbstractRoute, Route] = {}
    app = web.Application(middlewares=[problems, make_gate(table)], client_max_size=64 * 1024)
    app[SERVICES] = services
    handlers = {**API_HANDLERS, **(pages or {})}
    for route in ROUTES:
        table[app.router.add_route(route.method, route.path, handlers[route.handler])] = route
    return app
