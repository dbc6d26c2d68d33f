"""Login by one-time link, and logout.

Opening the link burns nothing, so that a preview or a prefetch cannot: it shows a button, and its POST takes the code.
That POST and the redirect after it come from the page's own site, so the SameSite=Strict cookie serves at once.
"""

from __future__ import annotations

import re
from html import escape

from aiohttp import hdrs, web

from agents.contracts.codec import Struct
from cloud_endpoint.app.io import answer, read_bytes, read_form
from cloud_endpoint.page.assets import Assets
from cloud_endpoint.page.headers import NO_STORE
from cloud_endpoint.page.sessions import COOKIE, Sessions, check_origin
from cloud_endpoint.problem import Problem
from cloud_endpoint.records import Done

_CODE = re.compile(r"[A-Za-z0-9_-]{20,128}")
HOW = "A login needs a one-time link. Whoever runs the endpoint prints one; it is good for 60 seconds."
READY = "The link is good for one login, within 60 seconds of being made."
FORM = (
    '<form method="post" action="/login" autocomplete="off"><input type="hidden" name="code" value="{{code}}">'
    '<button type="submit" autofocus>Log in</button></form>'
)
"""Only where there is a code to send."""
AGAIN = (
    '<!doctype html><html lang="en"><title>Galley</title><link rel="icon" href="/assets/icon.svg" type="image/svg+xml">'
    '<meta http-equiv="refresh" content="0;url=/">'
)
USED = "This link was used already, or is older than 60 seconds. Print a new one."


class LoginForm(Struct, frozen=True, kw_only=True):
    """What the button sends."""

    code: str = ""


class Login:
    """The handlers."""

    def __init__(self, sessions: Sessions, assets: Assets, hours: float) -> None:
        self._sessions = sessions
        self._template = assets.text("login.html")
        self._max_age = round(hours * 3600)

    async def show(self, request: web.Request) -> web.Response:
        """The login page; the code of the link stays in it until the button is pressed."""
        code = request.query.get("code", "")
        if not code and await self._sessions.of(request) is not None:
            return web.Response(status=303, headers={**NO_STORE, hdrs.LOCATION: "/"})
        return self._page(READY if _CODE.fullmatch(code) else HOW, code)

    async def take(self, request: web.Request) -> web.Response:
        """Burns the code and sets the cookie."""
        check_origin(request)
        form = await read_form(request, LoginForm)
        cookie = await self._sessions.open(form.code, request.remote or "")
        if cookie is None:
            return self._page(USED, "", 403)
        response = web.Response(status=303, headers={**NO_STORE, hdrs.LOCATION: "/"})
        response.set_cookie(
            COOKIE, cookie, path="/", secure=True, httponly=True, samesite="Strict", max_age=self._max_age
        )
        return response

    async def leave(self, request: web.Request) -> web.Response:
        """Logout; the gate has checked the session and its CSRF token."""
        await read_bytes(request)
        session = await self._sessions.of(request)
        if session is None:
            raise Problem(400, "there is no session to end")
        await self._sessions.close(session)
        response = answer(Done())
        response.headers.update(NO_STORE)
        response.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        return response

    def _page(self, text: str, code: str, status: int = 200) -> web.Response:
        shown = code if _CODE.fullmatch(code) else ""
        form = FORM.replace("{{code}}", escape(shown)) if shown else ""
        body = self._template.replace("{{text}}", escape(text)).replace("{{form}}", form)
        body = body.replace("{{class}}", "ready" if shown else "empty")
        return web.Response(text=body, status=status, content_type="text/html", headers=NO_STORE)


def to_login(request: web.Request) -> web.HTTPException:
    """Where the page sends one without a session.

    A link from another site arrives without the SameSite=Strict cookie even in an open session; one more navigation,
    from here, brings it.
    """
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        return _Again(text=AGAIN, content_type="text/html", headers=NO_STORE)
    return web.HTTPSeeOther("/login", headers=NO_STORE)


class _Again(web.HTTPOk):
    """A page that only navigates."""
