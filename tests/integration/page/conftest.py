"""An endpoint process whose page has short intervals and few streams, and a person with a browser's manners."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from tests.site_in_a_box.endpoint import Endpoint, EndpointClient

LIMITS = {"source_rate": 1000, "source_burst": 5000, "client_rate": 1000, "client_burst": 5000}
PAGE = {"clients": 3, "keepalive_seconds": 0.5, "notice": "Pods are played by KWOK."}
COOKIE = "__Host-galley"
_numbers = itertools.count(1)


class Person:
    """Speaks like a browser that shows the page. `cookie`: the session's, "" before the login."""

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession) -> None:
        self.endpoint = endpoint
        self.http = session
        self.cookie = ""
        self.csrf = ""

    def headers(self, **more: str) -> dict[str, str]:
        own = {"Cookie": f"{COOKIE}={self.cookie}"} if self.cookie else {}
        return own | {name.replace("_", "-"): value for name, value in more.items() if value}

    async def ask(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **arguments: Any
    ) -> aiohttp.ClientResponse:
        """One request; redirects are not followed. The body is read."""
        answer = await self.http.request(
            method,
            self.endpoint.url + path,
            headers=self.headers() if headers is None else headers,
            allow_redirects=False,
            **arguments,
        )
        await answer.read()
        return answer

    async def press(self, code: str, *, site: str = "same-origin", origin: str = "null") -> aiohttp.ClientResponse:
        """The button of the login page."""
        headers = self.headers(Sec_Fetch_Site=site, Origin=origin)
        return await self.ask("POST", "/login", headers=headers, data={"code": code})

    async def login(self, link: str) -> None:
        answer = await self.press(link.split("code=")[1])
        assert answer.status == 303, await answer.text()
        self.cookie = answer.cookies[COOKIE].value
        session = await self.ask("GET", "/v1/session")
        self.csrf = (await session.json())["csrf"]

    async def write(self, path: str, body: Any = None, **changes: str) -> aiohttp.ClientResponse:
        """A POST of the page; `changes` replaces headers, an empty one leaves it out."""
        manners = {"Sec_Fetch_Site": "same-origin", "Origin": self.endpoint.url, "X_CSRF_Token": self.csrf}
        return await self.ask("POST", path, headers=self.headers(**{**manners, **changes}), json=body or {})


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    one = Endpoint(tmp_path_factory.mktemp("page"), limits=LIMITS, page=PAGE, beat_seconds=2)
    one.start()
    try:
        yield one
    finally:
        one.stop()
    assert one.program.returncode == 0, one.program.log_tail()


@pytest.fixture
async def operator(endpoint: Endpoint) -> AsyncIterator[EndpointClient]:
    async with endpoint.operator() as client:
        yield client


@pytest.fixture
async def site(operator: EndpointClient) -> str:
    name = f"store-{next(_numbers):05d}"
    await operator.put_site(name, labels={"region": "north"})
    return name


@pytest.fixture
async def stranger(endpoint: Endpoint, operator: EndpointClient) -> AsyncIterator[Person]:
    """Nobody yet."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=operator.session.connector._ssl),  # type: ignore[union-attr]
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=30),
    ) as session:
        yield Person(endpoint, session)


@pytest.fixture
async def person(stranger: Person, operator: EndpointClient) -> Person:
    """Logged in as the operator `demo`."""
    await stranger.login(await link(operator))
    return stranger


async def link(operator: EndpointClient) -> str:
    """A one-time link."""
    return str((await operator.call("POST", "/v1/admin/login-link"))["url"])


async def new_operator(
    operator: EndpointClient, name: str, scopes: list[str], site: str | None = None
) -> tuple[str, Any]:
    """Another operator: name and key."""
    from agents.core.jose import SoftwareKey

    key = SoftwareKey.generate()
    body = {"name": name, "key": key.public, "scopes": scopes, "site": site}
    await operator.call("POST", "/v1/admin/operators", body)
    return name, key
