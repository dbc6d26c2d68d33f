"""The one table of routes: what each needs and gives. Gate, OpenAPI and tests are all made from it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.contracts.command import CommandsAnswer, SignedCommand
from agents.contracts.identity import (
    DEVICE_SCOPES,
    EnrolAnswer,
    EnrolRequest,
    GitCredential,
    Scope,
    SiteDocument,
    TokenAnswer,
)
from agents.contracts.ids import Stream
from agents.contracts.ingest import MAX_REQUEST_BYTES, IngestAnswer, IngestRequest
from cloud_endpoint import records as rec
from cloud_endpoint import requests as ask
from cloud_endpoint.page.detail import SiteDetail
from cloud_endpoint.page.views import Overview, SessionView

SMALL = 64 * 1024
NONE: frozenset[Scope] = frozenset()
PEOPLE = frozenset({Scope.FLEET_READ, Scope.FLEET_DEPLOY, Scope.REMEDY_EXECUTE, Scope.ADMIN})
READERS = frozenset({Scope.FLEET_READ, Scope.ADMIN})
ADMINS = frozenset({Scope.ADMIN})
EVERYONE = DEVICE_SCOPES | PEOPLE

STREAM_SCOPES: dict[Stream, Scope] = {
    Stream.HEARTBEAT: Scope.HEARTBEAT_WRITE,
    Stream.VESSEL: Scope.DEPLOY_REPORT,
    Stream.SYNTHETIC: Scope.SYNTHETIC_WRITE,
    Stream.COMMANDER: Scope.COMMAND_READ,
}
"""What a token must hold to write a stream, besides what the route asks."""


@dataclass(frozen=True)
class Route:
    """One route. `scopes`: a login with any of them; empty: no login. `cookie`: the page's session is a login too.

    `whole_fleet`: refused to people who may see one site alone. A `{site}` or `{node}` in the path is checked
    against the login's site. `body`, `answer`: contract types; `query`: type of the query; bytes where None.
    """

    method: str
    path: str
    handler: str
    summary: str
    scopes: frozenset[Scope] = NONE
    cookie: bool = False
    whole_fleet: bool = False
    body: Any = None
    answer: Any = None
    query: Any = None
    max_body: int = SMALL
    form: bool = False
    tags: tuple[str, ...] = ()


DEVICE_ROUTES: tuple[Route, ...] = (
    Route("GET", "/healthz", "healthz", "Whether the endpoint lives", answer=rec.Alive),
    Route(
        "POST",
        "/v1/enrol",
        "enrol",
        "A device asks to join: 200 enrolled, 202 pending, 403 refused or quarantined",
        body=EnrolRequest,
        answer=EnrolAnswer,
    ),
    Route(
        "POST",
        "/v1/token",
        "token",
        "An access token for a private_key_jwt assertion (RFC 7523)",
        answer=TokenAnswer,
        form=True,
        max_body=16 * 1024,
        body=ask.TokenForm,
    ),
    Route(
        "POST",
        "/v1/ingest",
        "ingest",
        "Messages of one stream's run; the scope is the stream's",
        scopes=DEVICE_SCOPES,
        body=IngestRequest,
        answer=IngestAnswer,
        max_body=MAX_REQUEST_BYTES,
    ),
    Route(
        "GET",
        "/v1/commands",
        "commands",
        "The node's waiting commands; `wait` up to 25 s for the next",
        scopes=frozenset({Scope.COMMAND_READ}),
        answer=CommandsAnswer,
        query=ask.CommandsQuery,
    ),
    Route("GET", "/v1/site", "site", "The node's site document", scopes=DEVICE_SCOPES, answer=SiteDocument),
    Route(
        "GET",
        "/v1/git-credential",
        "git_credential",
        "The credential of the site's Atlas",
        scopes=frozenset({Scope.DEPLOY_REPORT}),
        answer=GitCredential,
    ),
    Route(
        "POST",
        "/v1/echo",
        "echo",
        "The same bytes again: the cloud round trip of synthetic clients",
        scopes=frozenset({Scope.SYNTHETIC_WRITE}),
    ),
)

FLEET_ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/openapi.json", "openapi", "This description", scopes=EVERYONE, cookie=True),
    Route(
        "GET",
        "/v1/fleet/sites",
        "fleet_sites",
        "Sites",
        scopes=READERS,
        cookie=True,
        answer=list[rec.SiteRecord],
    ),
    Route(
        "GET",
        "/v1/fleet/sites/{site}",
        "fleet_site",
        "All of one site",
        scopes=READERS,
        cookie=True,
        answer=rec.SiteView,
    ),
    Route(
        "GET",
        "/v1/fleet/sites/{site}/history",
        "fleet_history",
        "Stored messages of one kind, newest first",
        scopes=READERS,
        cookie=True,
        answer=list[rec.HistoryRecord],
        query=ask.HistoryQuery,
    ),
    Route(
        "GET",
        "/v1/fleet/nodes",
        "fleet_nodes",
        "Nodes with their last beat, facts and state",
        scopes=READERS,
        cookie=True,
        answer=list[rec.NodeRecord],
        query=ask.SiteQuery,
    ),
    Route(
        "GET",
        "/v1/fleet/nodes/{node}/streams",
        "fleet_streams",
        "What of a node arrived, was dropped or unreadable",
        scopes=READERS,
        cookie=True,
        answer=rec.StreamsView,
    ),
    Route(
        "GET",
        "/v1/fleet/deployments",
        "fleet_deployments",
        "The last word on each app",
        scopes=READERS,
        cookie=True,
        answer=list[rec.DeploymentRecord],
        query=ask.SiteQuery,
    ),
    Route(
        "GET",
        "/v1/fleet/synthetics",
        "fleet_synthetics",
        "The last window of each step",
        scopes=READERS,
        cookie=True,
        answer=list[rec.SyntheticRecord],
        query=ask.SiteQuery,
    ),
    Route(
        "GET",
        "/v1/fleet/alerts",
        "fleet_alerts",
        "Alerts, the last raised first",
        scopes=READERS,
        cookie=True,
        answer=list[rec.AlertRecord],
        query=ask.SiteQuery,
    ),
    Route(
        "GET",
        "/v1/nodes/{node}/commands",
        "node_commands",
        "A node's commands and their answers",
        scopes=READERS,
        cookie=True,
        answer=list[rec.CommandRecord],
    ),
    Route(
        "POST",
        "/v1/nodes/{node}/commands",
        "command",
        "A command signed by operators; others are refused and audited",
        scopes=ADMINS,
        body=SignedCommand,
        answer=rec.CommandRecord,
    ),
    Route(
        "POST",
        "/v1/nodes/{node}/requests",
        "command_request",
        "A command that the endpoint itself may sign",
        scopes=frozenset({Scope.REMEDY_EXECUTE, Scope.ADMIN}),
        body=ask.CommandAsk,
        answer=rec.CommandRecord,
    ),
    Route(
        "GET",
        "/v1/nodes/{node}/next-command",
        "next_command",
        "Site, sequence and challenge for the next command",
        scopes=ADMINS,
        answer=rec.NextCommand,
    ),
)

ADMIN_ROUTES: tuple[Route, ...] = (
    Route(
        "PUT",
        "/v1/admin/sites/{site}",
        "site_put",
        "Makes or changes a site",
        scopes=ADMINS,
        body=ask.SitePut,
        answer=rec.SiteRecord,
    ),
    Route(
        "GET",
        "/v1/admin/shipping",
        "shipping",
        "The shipping list",
        scopes=ADMINS,
        cookie=True,
        answer=list[rec.ShippingRecord],
        query=ask.SiteQuery,
    ),
    Route(
        "POST",
        "/v1/admin/shipping",
        "ship",
        "Puts a device on the shipping list; answers its one-time code, once",
        scopes=ADMINS,
        whole_fleet=True,
        body=ask.Ship,
        answer=rec.Shipped,
    ),
    Route(
        "GET",
        "/v1/admin/devices",
        "devices",
        "Enrolled and revoked devices",
        scopes=ADMINS,
        answer=list[rec.DeviceRecord],
        query=ask.SiteQuery,
    ),
    Route(
        "POST",
        "/v1/admin/devices/{node}/revoke",
        "device_revoke",
        "Revokes a device and its tokens",
        scopes=ADMINS,
        answer=rec.Done,
    ),
    Route(
        "GET",
        "/v1/admin/enrolments",
        "enrolments",
        "Devices that asked to join and may not yet",
        scopes=ADMINS,
        whole_fleet=True,
        cookie=True,
        answer=list[rec.EnrolmentRecord],
    ),
    Route(
        "POST",
        "/v1/admin/enrolments/{id}/approve",
        "enrolment_approve",
        "A person's word for a device",
        scopes=ADMINS,
        whole_fleet=True,
        cookie=True,
        body=ask.Approve,
        answer=rec.DeviceRecord,
    ),
    Route(
        "POST",
        "/v1/admin/enrolments/{id}/refuse",
        "enrolment_refuse",
        "A person's word against a device",
        scopes=ADMINS,
        whole_fleet=True,
        cookie=True,
        answer=rec.Done,
    ),
    Route(
        "GET",
        "/v1/admin/operators",
        "operators",
        "Operators",
        scopes=ADMINS,
        whole_fleet=True,
        answer=list[rec.OperatorRecord],
    ),
    Route(
        "POST",
        "/v1/admin/operators",
        "operator_add",
        "Adds or changes an operator",
        scopes=ADMINS,
        whole_fleet=True,
        body=ask.OperatorAdd,
        answer=rec.OperatorRecord,
    ),
    Route(
        "POST",
        "/v1/admin/operators/{name}/revoke",
        "operator_revoke",
        "Ends an operator's rights",
        scopes=ADMINS,
        whole_fleet=True,
        answer=rec.Done,
    ),
    Route(
        "GET",
        "/v1/admin/audit",
        "audit",
        "The audit trail, newest first",
        scopes=ADMINS,
        whole_fleet=True,
        cookie=True,
        answer=list[rec.AuditRecord],
        query=ask.PageQuery,
    ),
    Route(
        "POST",
        "/v1/admin/login-link",
        "login_link",
        "A one-time link to the page: 60 s, single use",
        scopes=READERS,
        answer=rec.LoginLink,
    ),
)

PAGE_ROUTES: tuple[Route, ...] = (
    Route("GET", "/", "page", "The page; without a session a redirect to the login", scopes=READERS, cookie=True),
    Route("GET", "/login", "page_login", "Shows the button of a one-time link, whose code it does not burn"),
    Route("POST", "/login", "page_login_take", "Burns the code and sets the cookie", max_body=4096),
    Route("POST", "/logout", "page_logout", "Ends the session", scopes=EVERYONE, cookie=True, answer=rec.Done),
    Route("GET", "/assets/login.css", "page_login_style", "The login page's style"),
    Route("GET", "/assets/icon.svg", "page_icon", "The icon"),
    Route("GET", "/assets/{name}", "page_asset", "Scripts and styles of the page", scopes=READERS, cookie=True),
    Route(
        "GET",
        "/v1/session",
        "page_session",
        "Who is logged in, with the CSRF token of a session",
        scopes=READERS,
        cookie=True,
        answer=SessionView,
    ),
    Route(
        "GET",
        "/v1/fleet/overview",
        "page_overview",
        "All sites in a few words each",
        scopes=READERS,
        cookie=True,
        answer=Overview,
    ),
    Route(
        "GET",
        "/v1/fleet/overview/{site}",
        "page_site",
        "One site with all that the page shows of it",
        scopes=READERS,
        cookie=True,
        answer=SiteDetail,
    ),
    Route(
        "GET",
        "/v1/events",
        "page_events",
        "Server-sent events: what changes in the overview",
        scopes=READERS,
        cookie=True,
        query=ask.EventsQuery,
    ),
)
"""Of the web page."""

ROUTES: tuple[Route, ...] = DEVICE_ROUTES + FLEET_ROUTES + ADMIN_ROUTES + PAGE_ROUTES


def allows(route: Route, scopes: frozenset[Scope]) -> bool:
    """Whether a login with these scopes may use the route, its site aside."""
    return not route.scopes or bool(route.scopes & scopes)
