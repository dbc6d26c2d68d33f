"""The page as the endpoint mounts it: its handlers by the names of the table of routes, its login, its loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from agents.contracts.codec import encode
from agents.supervise.pulse import Pulse
from cloud_endpoint.app.io import ROUTE
from cloud_endpoint.app.principal import Principal
from cloud_endpoint.app.services import Services, principal
from cloud_endpoint.page.assets import Assets
from cloud_endpoint.page.detail import SiteDetail, node_detail, site_detail
from cloud_endpoint.page.events import Events
from cloud_endpoint.page.headers import NO_STORE
from cloud_endpoint.page.hub import Hub
from cloud_endpoint.page.login import Login, to_login
from cloud_endpoint.page.sessions import SAFE, Sessions, check_write, person
from cloud_endpoint.page.views import SessionView
from cloud_endpoint.problem import Problem
from cloud_endpoint.store import audit, fleet, ingest, sites
from cloud_endpoint.store.port import Tx

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HISTORY = 60
PER_NODE = 20


class Page:
    """Made once, beside the application."""

    def __init__(self, services: Services) -> None:
        own = services.settings
        self._services = services
        self._interval = float(own.beat_seconds)
        self._assets = Assets()
        self._sessions = Sessions(services.store, services.clock, own.page)
        self._login = Login(self._sessions, self._assets, own.page.session_hours)
        self.hub = Hub(
            services.store,
            services.clock,
            services.log,
            interval=self._interval,
            frame_seconds=own.page.frame_seconds,
        )
        self._events = Events(services, self.hub, self._sessions, own.page)

    def handlers(self) -> Mapping[str, Handler]:
        """Of PAGE_ROUTES."""
        return {
            "page": self._assets.index,
            "page_login": self._login.show,
            "page_login_take": self._login.take,
            "page_logout": self._login.leave,
            "page_login_style": self._assets.public,
            "page_icon": self._assets.public,
            "page_asset": self._assets.private,
            "page_session": self._session,
            "page_overview": self._overview,
            "page_site": self._site,
            "page_events": self._events.stream,
        }

    async def cookie_login(self, request: web.Request) -> Principal | None:
        """See services.CookieLogin."""
        session = await self._sessions.of(request)
        if session is None:
            if request[ROUTE].handler == "page":
                raise to_login(request)
            return None
        if request.method not in SAFE:
            check_write(request, session)
        return person(session)

    async def run(self, pulse: Pulse) -> None:
        """The loop that keeps the view of the fleet up to date."""
        await self.hub.run(pulse)

    async def _session(self, request: web.Request) -> web.Response:
        who = principal(request)
        session = await self._sessions.of(request)
        view = SessionView(
            operator=who.subject.removeprefix("op:"),
            scopes=sorted(who.scopes),
            site=who.site,
            csrf=session.csrf if session is not None else "",
            expires_ms=session.expires_ms if session is not None else None,
            now=self._services.clock.wall_ms(),
            notice=self._services.settings.page.notice,
            beat_seconds=self._interval,
        )
        return _json(encode(view))

    async def _overview(self, request: web.Request) -> web.Response:
        if not self.hub.ready.is_set():
            raise Problem(503, "the fleet is still being read", headers={"Retry-After": "1"})
        frame = self.hub.view.snapshot(self._services.clock.wall_ms())
        body = frame.encode(principal(request).site)
        head = encode({"id": f"{self.hub.epoch}.{frame.version}"})
        response = _json(head[:-1] + b"," + body[1:])
        response.enable_compression()
        return response

    async def _site(self, request: web.Request) -> web.Response:
        site = request.match_info["site"]
        detail = await self._services.store.read(lambda tx: self._detail(tx, site))
        if detail is None:
            raise Problem(404, "no such site")
        response = _json(encode(detail))
        response.enable_compression()
        return response

    def _detail(self, tx: Tx, site: str) -> SiteDetail | None:
        found = sites.get(tx, site)
        if found is None:
            return None
        nodes = fleet.nodes(tx, site=site)
        return site_detail(
            found,
            [node_detail(n, self.hub.view.node_live(n.node, tx.now_ms), self._interval) for n in nodes],
            fleet.deployments(tx, site=site),
            fleet.history(tx, site, "deployment", limit=HISTORY),
            fleet.synthetics(tx, site=site),
            now_ms=tx.now_ms,
            alerts=audit.alerts(tx, site=site, limit=HISTORY),
            gaps=[gap for n in nodes for gap in ingest.gaps(tx, n.node, PER_NODE)],
            unreadable=[letter for n in nodes for letter in ingest.dead_letters(tx, n.node, PER_NODE)],
        )


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json", headers=NO_STORE)
