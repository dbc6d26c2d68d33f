"""The identity socket's client against a real unix socket: caching, renewal, an absent or odd commander."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agents.core.errors import Rejected, Retryable
from agents.io.identity import SocketIdentity
from tests.fakes.clock import VirtualClock


class Commander:
    """Plays Edge Commander's socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[str, Any] = {}
        self.status = 200
        self.issued = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.path)).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            self.path.unlink(missing_ok=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, request.headers.get("Cache-Control", "")))
        if self.status != 200:
            return web.json_response({"title": "not enrolled"}, status=self.status, headers={"Retry-After": "9"})
        if request.path == "/v1/token" and request.path not in self.answers:
            self.issued += 1
            return web.json_response(
                {"access_token": f"token-{self.issued}", "expires_in": 600, "scope": "heartbeat:write"}
            )
        return web.json_response(self.answers[request.path])


@pytest.fixture
async def commander(tmp_path: Path) -> AsyncIterator[Commander]:
    made = Commander(tmp_path / "identity.sock")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def identity(commander: Commander) -> AsyncIterator[SocketIdentity]:
    made = SocketIdentity(commander.path, clock=VirtualClock(), timeout=3)
    yield made
    await made.aclose()


async def test_a_token_is_kept_until_shortly_before_its_end(commander: Commander, identity: SocketIdentity) -> None:
    clock: Any = identity._clock
    assert [await identity.token() for _ in range(3)] == ["token-1"] * 3
    clock.now += 539
    assert await identity.token() == "token-1"
    clock.now += 2
    assert await identity.token() == "token-2"
    assert len(commander.asked) == 2


async def test_with_the_socket_gone_it_works_on_until_the_token_ends(
    commander: Commander, identity: SocketIdentity
) -> None:
    clock: Any = identity._clock
    await identity.token()
    await commander.stop()
    clock.now += 599
    assert await identity.token() == "token-1"
    clock.now += 2
    with pytest.raises(Retryable, match=r"identity\.sock"):
        await identity.token()
    await commander.start()
    assert await identity.token() == "token-2"


async def test_a_refused_token_is_never_used_again_and_a_fresh_one_is_asked_for(
    commander: Commander, identity: SocketIdentity
) -> None:
    first = await identity.token()
    identity.refused("another")
    assert await identity.token() == first
    identity.refused(first)
    assert await identity.token() == "token-2"
    assert [header for _, header in commander.asked] == ["", "no-cache"]
    identity.refused("token-2")
    await commander.stop()
    with pytest.raises(Retryable):
        await identity.token()


async def test_not_enrolled_is_retryable_with_its_time(commander: Commander, identity: SocketIdentity) -> None:
    commander.status = 503
    with pytest.raises(Retryable, match="not enrolled") as caught:
        await identity.site()
    assert caught.value.retry_after == 9


async def test_a_role_that_may_not_is_rejected(commander: Commander, identity: SocketIdentity) -> None:
    commander.status = 403
    with pytest.raises(Rejected, match="HTTP 403"):
        await identity.git_credential()


async def test_site_and_credential_are_read_by_contract(commander: Commander, identity: SocketIdentity) -> None:
    node = "n-abcdefghij234567"
    commander.answers["/v1/site"] = {
        "generation": 3, "site": "store-1", "node": node, "labels": {}, "roster": [], "endpoints": [],
    }  # fmt: skip
    commander.answers["/v1/git-credential"] = {"host": "g", "username": "u", "password": "hunter2", "expires_in": 60}
    assert (await identity.site()).generation == 3
    credential = await identity.git_credential()
    assert credential.password == "hunter2" and "hunter2" not in repr(credential)
    commander.answers["/v1/site"] = {"generation": "x"}
    with pytest.raises(Retryable, match=r"malformed.*generation"):
        await identity.site()
    commander.answers["/v1/token"] = {"access_token": 5}
    with pytest.raises(Retryable, match="malformed"):
        await identity.token()


async def test_no_socket_at_all(tmp_path: Path) -> None:
    identity = SocketIdentity(tmp_path / "none.sock", clock=VirtualClock())
    with pytest.raises(Retryable, match=r"none\.sock: No such file"):
        await identity.token()
    await identity.aclose()
