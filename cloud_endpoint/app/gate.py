"""The gate before every handler: errors become problems; limits; login, scope and site by the table of routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from agents.contracts.ids import is_node_id, is_site_id
from agents.core.errors import Rejected, Retryable
from agents.core.jose import SignatureRefused
from cloud_endpoint.app.io import ROUTE, problem_answer
from cloud_endpoint.app.principal import Principal
from cloud_endpoint.app.services import PRINCIPAL, Services, services
from cloud_endpoint.problem import Problem
from cloud_endpoint.route import Route, allows
from cloud_endpoint.rules.ratelimit import source_key
from cloud_endpoint.store import fleet
from cloud_endpoint.store.ingest import WrongSite
from cloud_endpoint.store.port import StoreUnusable

TOKEN_PATH = "/v1/token"  # noqa: S105 - a path
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is a problem document, and an unexpected one tells nothing of the inside."""
    shared = services(request)
    try:
        response = await handler(request)
    except Problem as problem:
        response = problem_answer(problem)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        response = problem_answer(Problem(error.status, f"{request.method} {request.path[:200]}", headers=headers))
    except WrongSite as error:
        response = problem_answer(Problem(403, str(error)))
    except StoreUnusable as error:
        shared.log.error("the store cannot be used", cause=str(error))
        response = problem_answer(Problem(503, "the store cannot be used", headers={"Retry-After": "60"}))
    except Rejected as error:
        response = problem_answer(Problem(409, str(error)))
    except Retryable as error:
        shared.log.warning("a request must be tried again", cause=str(error))
        response = problem_answer(Problem(503, "the store is busy", headers={"Retry-After": "5"}))
    except ConnectionError:
        raise  # the caller went away: nobody to tell
    except Exception as error:
        shared.log.error("a handler failed", route=request.path, exc_info=error)
        response = problem_answer(Problem(500, "an error of the endpoint; it is in its log"))
    if not response.prepared:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
    route = request.get(ROUTE)
    shared.metrics.counter(
        "galley_endpoint_requests_total",
        "Requests by route and status.",
        route=route.path if route else "unknown",
        status=str(response.status),
    ).inc()
    return response


def make_gate(table: dict[web.AbstractRoute, Route]) -> Middleware:
    """The middleware that lets through what the table allows."""

    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = table.get(request.match_info.route)
        if route is None:
            _limit_source(request)
            return await handler(request)  # aiohttp's own 404 or 405
        request[ROUTE] = route
        if not route.scopes:
            if route.path == TOKEN_PATH:
                _limit_shown(request)
            elif route.path != "/healthz":
                _limit_source(request)
            return await handler(request)
        who = await _login(request, route)
        _limit_client(request, who)
        if not allows(route, who.scopes):
            raise Problem(
                403, f"needs the scope {' or '.join(sorted(route.scopes))}", headers=_challenge("insufficient_scope")
            )
        await _check_site(request, route, who)
        request[PRINCIPAL] = who
        return await handler(request)

    return gate


async def _login(request: web.Request, route: Route) -> Principal:
    shared = services(request)
    header = request.headers.get(hdrs.AUTHORIZATION)
    if header is None and route.cookie and shared.cookie_login is not None:
        who = await shared.cookie_login(request)
        if who is not None:
            return who
    if header is None:
        _limit_source(request)
        raise Problem(401, "a login is needed", headers=_challenge())
    scheme, _, token = header.partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise SignatureRefused("Authorization must be Bearer")
        return shared.issuer.verify(token.strip(), shared.clock.wall_ms())
    except SignatureRefused as error:
        _limit_shown(request)
        raise Problem(401, str(error), headers=_challenge("invalid_token")) from None


async def _check_site(request: web.Request, route: Route, who: Principal) -> None:
    if route.whole_fleet and who.site is not None:
        raise Problem(403, "needs a login for the whole fleet")
    site = request.match_info.get("site")
    node = request.match_info.get("node")
    if site is not None and not is_site_id(site):
        what = "lower-case letters, digits and hyphens, at most 63, such as store-01234"
        raise Problem(404, f"no such site: a site's id is made of {what}")
    if node is not None:
        site = await services(request).store.read(lambda tx: fleet.site_of(tx, node)) if is_node_id(node) else None
        if site is None:
            raise Problem(403 if who.site is not None else 404, "no such node, or not yours")
    if site is not None and not who.may_see(site):
        raise Problem(403, "another site")


def _limit_source(request: web.Request) -> None:
    shared = services(request)
    limited(shared, shared.by_source.take(source_key(request.remote), shared.clock.monotonic()))


def _limit_shown(request: web.Request) -> None:
    shared = services(request)
    limited(shared, shared.by_shown.take(source_key(request.remote), shared.clock.monotonic()))


def _limit_client(request: web.Request, who: Principal) -> None:
    shared = services(request)
    limited(shared, shared.by_client.take(who.subject, shared.clock.monotonic()))


def limited(shared: Services, wait: float) -> None:
    """Raises Problem 429 where a limit says to wait."""
    if wait > 0:
        shared.metrics.counter("galley_endpoint_limited_total", "Requests refused by a rate limit.").inc()
        raise Problem(429, "too many requests", headers={"Retry-After": str(max(1, round(wait + 0.5)))})


def _challenge(error: str = "") -> dict[str, str]:
    """RFC 6750 section 3."""
    return {"WWW-Authenticate": 'Bearer realm="galley"' + (f', error="{error}"' if error else "")}
