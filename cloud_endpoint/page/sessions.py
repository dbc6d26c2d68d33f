"""Sessions by cookie: opened with a one-time code, found at each request, checked at each write."""

from __future__ import annotations

import re
import secrets
from hmac import compare_digest

from aiohttp import web

from agents.contracts.identity import Scope
from agents.core.ports import Clock
from cloud_endpoint.app.admin import hash_secret
from cloud_endpoint.app.principal import Principal
from cloud_endpoint.page.headers import foreign
from cloud_endpoint.page.settings import PageSettings
from cloud_endpoint.problem import Problem
from cloud_endpoint.store import audit, clients, failed_logins, sessions
from cloud_endpoint.store.port import Store, StoreFault, Tx
from cloud_endpoint.store.sessions import SLIDE_MS, Session

COOKIE = "__Host-galley"
"""The prefix makes browsers insist on Secure, Path=/ and no Domain (RFC 6265bis section 4.1.3.2)."""
CSRF_HEADER = "X-CSRF-Token"
SAFE = frozenset({"GET", "HEAD"})
_SECRET = re.compile(r"[A-Za-z0-9_-]{20,128}")


class Sessions:
    """Over the store, with no memory of its own: what ended there has ended."""

    def __init__(self, store: Store, clock: Clock, settings: PageSettings) -> None:
        self._store = store
        self._clock = clock
        self._idle_ms = round(settings.idle_minutes * 60_000)
        self._longest_ms = round(settings.session_hours * 3_600_000)

    async def open(self, code: str, source: str) -> str | None:
        """Burns a login code and opens a session: the cookie's value, or None when the code serves nobody."""
        cookie, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)

        def work(tx: Tx) -> bool:
            operator = clients.take_login_code(tx, hash_secret(code)) if _SECRET.fullmatch(code) else None
            if operator is None:
                failed_logins.note(tx, source)
                return False
            sessions.open_session(tx, hash_secret(cookie), operator, csrf, self._end(tx.now_ms, tx.now_ms))
            audit.add(tx, f"op:{operator}", "login", "page", source=source)
            return True

        return cookie if await self._store.write(work) else None

    async def of(self, request: web.Request) -> Session | None:
        """Whose cookie this is; each use moves the session's end."""
        cookie = request.cookies.get(COOKIE, "")
        if not _SECRET.fullmatch(cookie):
            return None
        id_hash = hash_secret(cookie)
        session = await self._store.read(lambda tx: sessions.find(tx, id_hash))
        if session is None:
            return None
        end = self._end(session.created_ms, self._clock.wall_ms())
        if end - session.expires_ms >= min(SLIDE_MS, self._idle_ms // 4):
            try:
                await self._store.write(lambda tx: sessions.slide(tx, id_hash, end))
            except StoreFault:
                return session  # a full disk must not log people out
        return session

    async def close(self, session: Session) -> None:
        """Logs out."""

        def work(tx: Tx) -> None:
            sessions.close_session(tx, session.id_hash)
            audit.add(tx, f"op:{session.operator}", "logout", "page")

        await self._store.write(work)

    def _end(self, created_ms: int, now_ms: int) -> int:
        return min(created_ms + self._longest_ms, now_ms + self._idle_ms)


def person(session: Session) -> Principal:
    """The session's login."""
    known = {scope.value for scope in Scope}
    scopes = frozenset(Scope(scope) for scope in session.scopes if scope in known)
    return Principal(subject=f"op:{session.operator}", scopes=scopes, site=session.site)


def check_origin(request: web.Request) -> None:
    """Raises Problem 403 for a write that another site caused."""
    cause = foreign(request.headers, request.scheme, request.host)
    if cause:
        raise Problem(403, f"the request is refused: {cause}")


def check_write(request: web.Request, session: Session) -> None:
    """Origin and CSRF token of a write by cookie; raises Problem 403."""
    check_origin(request)
    if not compare_digest(request.headers.get(CSRF_HEADER, "").encode(), session.csrf.encode()):
        raise Problem(403, f"the request is refused: {CSRF_HEADER} is missing or wrong")
