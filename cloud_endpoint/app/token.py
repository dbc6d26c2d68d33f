"""`POST /v1/token`: an assertion becomes an access token (RFC 6749 section 4.4, RFC 7523 section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from agents.contracts.identity import ROLE_SCOPES, Role, Scope, TokenAnswer
from agents.contracts.ids import is_node_id
from agents.core.assertion import ASSERTION_TYPE, GRANT_TYPE, SKEW, check_assertion, unverified_client
from agents.core.jose import Jwk, SignatureRefused
from cloud_endpoint.app.gate import limited
from cloud_endpoint.app.io import answer, read_form
from cloud_endpoint.app.principal import Principal
from cloud_endpoint.app.services import Services, services
from cloud_endpoint.problem import Problem
from cloud_endpoint.requests import TokenForm
from cloud_endpoint.rules.ratelimit import source_key
from cloud_endpoint.store import clients, devices
from cloud_endpoint.store.clients import TOKEN_SECONDS
from cloud_endpoint.store.port import Tx


@dataclass(frozen=True)
class Client:
    """A registered client. `scopes`: all it may ever ask for, None for a device (its roles decide)."""

    name: str
    key: Jwk
    site: str | None
    scopes: frozenset[Scope] | None


async def token(request: web.Request) -> web.Response:
    """Authenticates, burns the assertion's id, and issues."""
    form = await read_form(request, TokenForm)
    shared = services(request)
    if form.grant_type != GRANT_TYPE:
        raise Problem(400, f"grant_type must be {GRANT_TYPE}", error="unsupported_grant_type")
    if form.client_assertion_type != ASSERTION_TYPE:
        raise Problem(400, f"client_assertion_type must be {ASSERTION_TYPE}", error="invalid_request")
    try:
        client = await _authenticate(shared, form.client_assertion)
    except Problem:
        # Only what is refused counts against its source: behind one address there may be thousands of good clients.
        limited(shared, shared.by_source.take(source_key(request.remote), shared.clock.monotonic()))
        raise
    limited(shared, shared.by_client.take(client.name, shared.clock.monotonic()))
    who = grant(client, form.scope)
    access = shared.issuer.issue(who, shared.clock.wall_ms())
    return answer(TokenAnswer(access_token=access, expires_in=TOKEN_SECONDS, scope=" ".join(sorted(who.scopes))))


async def _authenticate(shared: Services, assertion: str) -> Client:
    now = shared.clock.wall_ms() // 1000
    try:
        name = unverified_client(assertion)
        client = await shared.store.read(lambda tx: find_client(tx, name))
        if client is None:
            raise SignatureRefused("iss is no registered client, or it was revoked")
        claims = check_assertion(assertion, name, client.key, shared.issuer.issuer, now)
        fresh = await shared.store.write(
            lambda tx: clients.use_jti(tx, name, claims.jti, (claims.exp + SKEW + 1) * 1000)
        )
        if not fresh:
            raise SignatureRefused("jti was used before")
        return client
    except SignatureRefused as error:
        shared.metrics.counter("galley_endpoint_assertions_refused_total", "Client assertions refused.").inc()
        raise Problem(401, f"client_assertion: {error}", error="invalid_client") from None


def find_client(tx: Tx, name: str) -> Client | None:
    """The registered client of that name, None for unknown and revoked ones."""
    if is_node_id(name):
        device = devices.get(tx, name)
        if device is None or device.status != "enrolled":
            return None
        return Client(name, device.signing, device.site, None)
    if not name.startswith("op:"):
        return None
    operator = clients.operator(tx, name.removeprefix("op:"))
    if operator is None or operator.revoked_ms is not None:
        return None
    return Client(name, operator.key, operator.site, frozenset(Scope(scope) for scope in operator.scopes))


def grant(client: Client, wanted: str) -> Principal:
    """What the client gets: a device exactly one role's scopes, a person some of theirs (all when none is named).
    Raises Problem 400 `invalid_scope`."""
    try:
        scopes = frozenset(Scope(name) for name in wanted.split())
    except ValueError:
        raise Problem(400, "scope: unknown scope", error="invalid_scope") from None
    if client.scopes is None:
        role = _role_of(scopes)
        if role is None:
            raise Problem(400, "scope: a device asks for exactly one role's scope", error="invalid_scope")
        return Principal(client.name, scopes, client.site, role)
    if not scopes <= client.scopes:
        raise Problem(400, "scope: more than the client may hold", error="invalid_scope")
    return Principal(client.name, scopes or client.scopes, client.site)


def _role_of(scopes: frozenset[Scope]) -> Role | None:
    return next((role for role, own in ROLE_SCOPES.items() if own == scopes), None)
