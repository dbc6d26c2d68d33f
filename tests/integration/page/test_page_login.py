"""The login: one link, one session; what a preview, a replay, another site, and a revocation can do."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

import pytest

from agents.core.jose import SoftwareKey
from cloud_endpoint.page.headers import CSP
from cloud_endpoint.route import Route
from cloud_endpoint.routes import ROUTES
from tests.integration.page.conftest import COOKIE, Person, link, new_operator
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient

PATHS = {"{site}": "store-00001", "{node}": "n-aaaaaaaaaaaaaaaa", "{id}": "1", "{name}": "main.js"}
OPEN = {"/healthz", "/v1/enrol", "/v1/token", "/login", "/assets/login.css", "/assets/icon.svg"}


def path_of(route: Route) -> str:
    path = route.path
    for mark, value in PATHS.items():
        path = path.replace(mark, value)
    return path


async def test_a_link_shows_a_button_and_looking_burns_nothing(stranger: Person, operator: EndpointClient) -> None:
    url = await link(operator)
    code = url.split("code=")[1]
    for _ in range(3):
        shown = await stranger.ask("GET", f"/login?code={code}")
        assert shown.status == 200
        assert f'value="{code}"' in await shown.text() and "<button" in await shown.text()
        assert "Set-Cookie" not in shown.headers
    await stranger.login(url)
    assert (await stranger.ask("GET", "/")).status == 200


async def test_the_cookie(stranger: Person, operator: EndpointClient) -> None:
    answer = await stranger.press((await link(operator)).split("code=")[1])
    assert answer.headers["Location"] == "/"
    raw = answer.headers["Set-Cookie"]
    assert raw.startswith(f"{COOKIE}=")
    for attribute in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/"):
        assert attribute in raw
    assert "Domain" not in raw
    assert len(answer.cookies[COOKIE].value) >= 43


async def test_a_code_serves_once(stranger: Person, operator: EndpointClient) -> None:
    code = (await link(operator)).split("code=")[1]
    assert (await stranger.press(code)).status == 303
    again = await stranger.press(code)
    assert again.status == 403
    assert "used already" in await again.text()
    assert "<form" not in await again.text() and "<button" not in await again.text()
    assert "Set-Cookie" not in again.headers


async def test_a_wrong_code_gets_nothing(stranger: Person) -> None:
    for code in ("", "x", secrets.token_urlsafe(24), "'; DROP TABLE sessions; --", "é" * 40, '"><script>alert(1)'):
        answer = await stranger.press(code)
        assert answer.status == 403
        assert "Set-Cookie" not in answer.headers
        shown = await stranger.ask("GET", "/login", params={"code": code})
        assert "<script>" not in await shown.text()
        assert ("<button" in await shown.text()) is (len(code) == 32)


@pytest.mark.parametrize(
    ("site", "origin"),
    [("cross-site", "null"), ("same-site", "null"), ("cross-site", "https://evil.example"), ("", "null"), ("", "")],
)
async def test_another_site_cannot_log_a_person_in(
    stranger: Person, operator: EndpointClient, site: str, origin: str
) -> None:
    code = (await link(operator)).split("code=")[1]
    assert (await stranger.press(code, site=site, origin=origin)).status == 403
    assert (await stranger.press(code)).status == 303, "the refused try must not have burned the code"


async def test_the_page_without_a_session_leads_to_the_login(stranger: Person) -> None:
    answer = await stranger.ask("GET", "/", headers={})
    assert (answer.status, answer.headers["Location"]) == (303, "/login")
    from_elsewhere = await stranger.ask("GET", "/", headers={"Sec-Fetch-Site": "cross-site"})
    assert from_elsewhere.status == 200
    text = await from_elsewhere.text()
    assert 'http-equiv="refresh"' in text
    assert "main.js" not in text


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")
async def test_no_route_without_a_login_but_these(stranger: Person, route: Route) -> None:
    stranger.cookie = secrets.token_urlsafe(32)
    answer = await stranger.ask(route.method, path_of(route), json={} if route.method != "GET" else None)
    if route.path in OPEN:
        assert answer.status not in (401,)
    elif route.path == "/":
        assert answer.status == 303
    else:
        assert answer.status == 401, await answer.text()


@pytest.mark.parametrize(
    "route", [r for r in ROUTES if r.scopes and not r.cookie], ids=lambda r: f"{r.method} {r.path}"
)
async def test_a_session_is_no_token_where_the_table_does_not_say_so(person: Person, route: Route) -> None:
    answer = await person.ask(route.method, path_of(route), json={} if route.method != "GET" else None)
    assert answer.status == 401


@pytest.mark.parametrize(
    "path", ["/", "/login", "/assets/main.js", "/assets/login.css", "/v1/session", "/v1/fleet/overview"]
)
async def test_every_answer_of_the_page_has_its_headers(person: Person, path: str) -> None:
    answer = await person.ask("GET", path)
    assert answer.headers["Content-Security-Policy"] == CSP
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Frame-Options"] == "DENY"
    expected = "private, no-cache" if path == "/" or path.startswith("/assets/") else "no-store"
    assert answer.headers["Cache-Control"] == expected


async def test_assets_are_asked_for_again_only_when_they_changed(person: Person) -> None:
    first = await person.ask("GET", "/assets/main.js")
    again = await person.ask("GET", "/assets/main.js", headers=person.headers(If_None_Match=first.headers["ETag"]))
    assert again.status == 304
    for name in ("index.html", "login.html", "nothing.js", "..%2Fsettings.py", "%2e%2e/mount.py"):
        assert (await person.ask("GET", f"/assets/{name}")).status in (401, 404)


@pytest.mark.parametrize(
    "change",
    [
        {"X_CSRF_Token": ""},
        {"X_CSRF_Token": "wrong"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "", "Origin": "https://evil.example"},
        {"Sec_Fetch_Site": "", "Origin": ""},
    ],
    ids=str,
)
async def test_a_write_needs_token_and_origin(person: Person, change: dict[str, str]) -> None:
    answer = await person.write("/logout", **change)
    assert answer.status == 403
    assert (await answer.json())["detail"].startswith("the request is refused")
    assert (await person.ask("GET", "/v1/session")).status == 200, "the session must go on"


async def test_logout_ends_the_session_on_the_server(person: Person) -> None:
    assert (await person.write("/logout")).status == 200
    assert (await person.ask("GET", "/v1/session")).status == 401


async def test_one_persons_csrf_token_is_not_anothers(
    person: Person, operator: EndpointClient, endpoint: Endpoint
) -> None:
    other = Person(endpoint, person.http)
    await other.login(await link(operator))
    assert (await other.write("/logout", X_CSRF_Token=person.csrf)).status == 403


async def test_a_device_is_approved_from_the_page(
    person: Person, operator: EndpointClient, endpoint: Endpoint, site: str
) -> None:
    async with endpoint.client("", SoftwareKey.generate()) as device:
        status, _ = await device.enrol(hardware := f"hw-{secrets.token_hex(4)}")
        assert status == 202
        waiting: list[dict[str, Any]] = await (await person.ask("GET", "/v1/admin/enrolments")).json()
        number = next(one["id"] for one in waiting if one["hardware_id"] == hardware)
        path = f"/v1/admin/enrolments/{number}/approve"
        assert (await person.write(path, {"site": site, "name": "nuc-1"}, X_CSRF_Token="no")).status == 403
        assert (await person.write(path, {"site": site, "name": "nuc-1"})).status == 200
    audited = await operator.call("GET", "/v1/admin/audit")
    assert any(line["action"] == "device approve" and line["actor"] == "op:demo" for line in audited)


async def test_a_revoked_operators_session_ends_at_once(
    stranger: Person, operator: EndpointClient, endpoint: Endpoint
) -> None:
    name, key = await new_operator(operator, f"ann-{secrets.token_hex(3)}", ["fleet:read"])
    async with endpoint.client(f"op:{name}", key) as theirs:
        await stranger.login(await link(theirs))
    assert (await stranger.ask("GET", "/v1/session")).status == 200
    await operator.call("POST", f"/v1/admin/operators/{name}/revoke")
    assert (await stranger.ask("GET", "/v1/session")).status == 401


async def test_a_reader_sees_and_does_not_touch(stranger: Person, operator: EndpointClient, endpoint: Endpoint) -> None:
    name, key = await new_operator(operator, f"bo-{secrets.token_hex(3)}", ["fleet:read"])
    async with endpoint.client(f"op:{name}", key) as theirs:
        await stranger.login(await link(theirs))
    assert (await stranger.ask("GET", "/v1/fleet/overview")).status == 200
    assert (await stranger.ask("GET", "/v1/admin/enrolments")).status == 403
    assert (await stranger.write("/v1/admin/enrolments/1/refuse")).status == 403


async def test_one_who_may_see_one_site_sees_that_one_alone(
    stranger: Person, operator: EndpointClient, endpoint: Endpoint, site: str
) -> None:
    await operator.put_site("store-99999")
    name, key = await new_operator(operator, f"cy-{secrets.token_hex(3)}", ["fleet:read"], site)
    async with endpoint.client(f"op:{name}", key) as theirs:
        await stranger.login(await link(theirs))
    deadline = time.monotonic() + 10
    while True:
        seen = await (await stranger.ask("GET", "/v1/fleet/overview")).json()
        if seen["sites"] or time.monotonic() > deadline:
            break
    assert [one["site"] for one in seen["sites"]] == [site]
    assert (await stranger.ask("GET", f"/v1/fleet/overview/{site}")).status == 200
    assert (await stranger.ask("GET", "/v1/fleet/overview/store-99999")).status == 403


async def test_no_code_and_no_cookie_in_the_log(person: Person, operator: EndpointClient, endpoint: Endpoint) -> None:
    url = await link(operator)
    await person.ask("GET", "/login?" + url.split("?")[1])
    log = (endpoint.folder / "endpoint.log").read_text()
    assert url.split("code=")[1] not in log
    assert person.cookie not in log
    store = b"".join(file.read_bytes() for file in (endpoint.folder / "state").rglob("endpoint.db*"))
    assert person.cookie.encode() not in store
    assert url.split("code=")[1].encode() not in store


async def test_a_code_is_too_old_after_a_minute_and_a_session_ends(tmp_path: Any) -> None:
    """With the endpoint's own store and a clock that is turned."""
    from agents.core.jose import SoftwareKey
    from cloud_endpoint.app.admin import hash_secret
    from cloud_endpoint.page.sessions import Sessions
    from cloud_endpoint.page.settings import PageSettings
    from cloud_endpoint.store import clients
    from cloud_endpoint.store.sqlite import SqliteStore
    from tests.fakes.clock import VirtualClock

    clock = VirtualClock()
    store = await SqliteStore.open(tmp_path / "store.db", clock.wall_ms)
    try:
        await store.write(lambda tx: clients.add_operator(tx, "demo", SoftwareKey.generate().public, ["admin"]))
        sessions = Sessions(store, clock, PageSettings(idle_minutes=10, session_hours=1))

        async def login(code: str, after: float) -> str | None:
            await store.write(lambda tx: clients.add_login_code(tx, hash_secret(code), "demo"))
            await clock.advance(after)
            return await sessions.open(code, "127.0.0.1")

        async def alive(cookie: str) -> bool:
            return await sessions.of(_Request(cookie)) is not None  # type: ignore[arg-type]

        assert await login("a" * 32, 60.0) is None
        first = await login("b" * 32, 59.0)
        assert first is not None
        assert await alive(first)
        await clock.advance(601)
        assert not await alive(first), "idle for ten minutes"
        second = await login("c" * 32, 0.0)
        assert second is not None
        for _ in range(6):
            await clock.advance(590)
            assert await alive(second), "each use moves the end"
        await clock.advance(100)
        assert not await alive(second), "an hour is the limit in any case"
    finally:
        await store.aclose()


class _Request:
    def __init__(self, cookie: str) -> None:
        self.cookies = {COOKIE: cookie}


def test_the_routes_of_the_page_are_in_the_table() -> None:
    paths = {route.path for route in ROUTES}
    assert {"/", "/login", "/logout", "/assets/{name}", "/v1/events", "/v1/session", "/v1/fleet/overview"} <= paths
    assert all(re.fullmatch(r"/[\w{}/.-]*", path) for path in paths)
