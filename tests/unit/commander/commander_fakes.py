"""A clock that turns by hand, an outbox that is a list, and a cloud that answers from a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agents.contracts.command import CommandsAnswer
from agents.contracts.identity import (
    EnrolAnswer,
    EnrolRequest,
    EnrolStatus,
    GitCredential,
    Member,
    SiteDocument,
    TokenAnswer,
)
from agents.contracts.signed import SignedDocument
from agents.core.errors import Retryable
from edge_commander.cloud import BearerRefused
from edge_commander.distribution.port import ClusterHealth, ClusterMember

NOW_MS = 1_800_000_000_000


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.wall_off = 0

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return NOW_MS + self.wall_off + round((self.now - 1000.0) * 1000)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class FakeOutbox:
    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.before_put: Callable[[], None] = lambda: None

    async def put(self, body: Any, *, durable: bool = False) -> int:
        self.before_put()
        assert durable
        self.bodies.append(body)
        return len(self.bodies)

    async def pending(self) -> int:
        return len(self.bodies)

    def kinds(self, type_: type) -> list[Any]:
        return [body for body in self.bodies if isinstance(body, type_)]


class FakeCloud:
    """`error` is raised by every call while it is set."""

    def __init__(self, clock: FakeClock, node: str = "", site: str = "store-1") -> None:
        self.clock = clock
        self.node, self.site_id = node, site
        self.error: Exception | None = None
        self.status = EnrolStatus.ENROLLED
        self.requests: list[EnrolRequest] = []
        self.forms: list[dict[str, str]] = []
        self.hold: asyncio.Event | None = None
        self.scope: str | None = None
        self.generation = 1
        self.roster = [Member(node=node, name="kitchen-1")] if node else []
        self.commands_waiting: list[Any] = []
        self.command_keys: list[dict[str, Any]] = []
        self.dead_tokens: set[str] = set()
        self.challenges: list[str] = []
        self.roster_jws: SignedDocument | None = None
        self.roster_keys: list[dict[str, Any]] = []
        self.operators: list[SignedDocument] = []

    def _check(self, token: str = "") -> None:
        if self.error is not None:
            raise self.error
        if token in self.dead_tokens:
            raise BearerRefused("HTTP 401")

    async def enrol(self, request: EnrolRequest) -> EnrolAnswer:
        self.requests.append(request)
        self._check()
        if self.challenges:
            return EnrolAnswer(
                status=EnrolStatus.CHALLENGE, node=self.node, challenge=self.challenges.pop(0), reason="open it",
                retry_after=20.0, server_time=self.clock.wall_ms() - self.clock.wall_off,
            )  # fmt: skip
        site = self.site_id if self.status is EnrolStatus.ENROLLED else None
        return EnrolAnswer(
            status=self.status, node=self.node, site=site, reason="said so", retry_after=20.0,
            server_time=self.clock.wall_ms() - self.clock.wall_off,
        )  # fmt: skip

    async def token(self, form: dict[str, str]) -> TokenAnswer:
        self.forms.append(dict(form))
        if self.hold is not None:
            await self.hold.wait()
        self._check()
        return TokenAnswer(access_token=f"token-{len(self.forms)}", expires_in=600, scope=self.scope or form["scope"])

    async def site(self, token: str, operators_after: int = 0) -> SiteDocument:
        self._check(token)
        return SiteDocument(
            generation=self.generation, site=self.site_id, node=self.node, labels={}, roster=self.roster, endpoints=[],
            command_keys=self.command_keys, roster_jws=self.roster_jws, roster_keys=self.roster_keys,
            operators=self.operators,
        )  # fmt: skip

    async def git_credential(self, token: str) -> GitCredential:
        self._check(token)
        return GitCredential(host="git.example", username="u", password=token, expires_in=300)

    async def commands(self, token: str, after: int, wait: float) -> CommandsAnswer:
        self._check(token)
        return CommandsAnswer(commands=self.commands_waiting)


class FakeDistribution:
    name = "fake"

    def __init__(self) -> None:
        self.api = True
        self.nodes = [ClusterMember(name="kitchen-1", ready=True, server=True)]
        self.error: Exception | None = None

    async def health(self) -> ClusterHealth:
        if self.error:
            raise self.error
        return ClusterHealth(api=self.api)

    async def members(self) -> list[ClusterMember]:
        if not self.api:
            raise Retryable("gone")
        return self.nodes
