"""Routes of the web page; see routes.py. Pure."""

from __future__ import annotations

from cloud_endpoint import records as rec
from cloud_endpoint import requests as ask
from cloud_endpoint.page.detail import SiteDetail
from cloud_endpoint.page.views import Overview, SessionView
from cloud_endpoint.route import EVERYONE, READERS, Route

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
