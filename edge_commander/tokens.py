"""Access tokens by role, by `private_key_jwt` (RFC 7523), and the Git credential by Vessel's. Asks the cloud."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from agents.contracts.identity import ROLE_SCOPES, GitCredential, Role, TokenAnswer
from agents.contracts.ids import NodeId
from agents.core.assertion import token_form
from agents.core.errors import Rejected, Retryable
from agents.core.jose import Signer
from agents.core.ports import Clock
from edge_commander.cloud import BearerRefused, Cloud, TokenRefused
from edge_commander.flight import SingleFlight

T = TypeVar("T")
CLOCK_MOVED_SECONDS = 15


class Tokens:
    """One token per role. Until `known_as` was called there are none.

    `now_s`: the endpoint's time as far as known, Unix s. `known`: set from then on. `refused`: the endpoint did not
    accept our assertion since.
    """

    def __init__(
        self,
        cloud: Cloud,
        issuer: str,
        clock: Clock,
        now_s: Callable[[], int],
        uniform: Callable[[float, float], float],
    ) -> None:
        self._cloud = cloud
        self._issuer = issuer
        self._now_s = now_s
        self._who: tuple[NodeId, Signer] | None = None
        self._roles = {role: SingleFlight(self._fetcher(role), clock, uniform) for role in Role}
        self._git = SingleFlight(self._fetch_git, clock, uniform)
        self._flights: list[SingleFlight[Any]] = [*self._roles.values(), self._git]
        self.known = asyncio.Event()
        self.refused = False
        self._refused_bearer = ""
        self.fetched = 0

    def known_as(self, node: NodeId, signer: Signer) -> None:
        """From now on tokens may be asked for."""
        if self._who is None:
            self._who = (node, signer)
            self.known.set()
            self._forget_failures()

    def accepted(self) -> None:
        """The endpoint knows this device after all: what failed is tried again at once."""
        self.refused = False
        self._forget_failures()

    def _forget_failures(self) -> None:
        for flight in self._flights:
            if not flight.holds():
                flight.forget()

    async def get(self, role: Role, *, past_cache: bool = False) -> TokenAnswer:
        """This role's token; `expires_in` is what is left of it, s. Raises Retryable, Rejected."""
        answer, left = await self._roles[role].get(past_cache=past_cache)
        return TokenAnswer(access_token=answer.access_token, expires_in=max(1, int(left)), scope=answer.scope)

    async def bearer(self) -> str:
        """The commander's own token. Raises Retryable, Rejected."""
        token = (await self.get(Role.COMMANDER)).access_token
        if token == self._refused_bearer:
            token = (await self.get(Role.COMMANDER, past_cache=True)).access_token
        return token

    def bearer_refused(self, token: str) -> None:
        """The endpoint did not take the commander's token: the next one is a new one."""
        self._refused_bearer = token

    async def with_bearer(self, ask: Callable[[str], Awaitable[T]]) -> T:
        """What `ask` answers with the commander's token; once more with a new one where that was refused (revoked, or
        the endpoint's key is another). Raises what `ask` and the asking for a token raise."""
        token = await self.bearer()
        try:
            return await ask(token)
        except BearerRefused:
            self.bearer_refused(token)
        return await ask(await self.bearer())

    async def git_credential(self) -> GitCredential:
        """A short-lived Git credential; `expires_in` is what is left of it, s. Raises Retryable, Rejected."""
        found, left = await self._git.get()
        return GitCredential(
            host=found.host, username=found.username, password=found.password, expires_in=max(1, int(left))
        )

    async def aclose(self) -> None:
        """Ends what is under way."""
        for flight in self._flights:
            await flight.aclose()

    def _fetcher(self, role: Role) -> Callable[[], Awaitable[tuple[TokenAnswer, float]]]:
        async def fetch() -> tuple[TokenAnswer, float]:
            return await self._fetch(role)

        return fetch

    async def _fetch(self, role: Role) -> tuple[TokenAnswer, float]:
        if self._who is None:
            raise Retryable("this node is not enrolled yet", retry_after=5.0)
        used = self._now_s()
        try:
            answer = await self._ask(role, used)
        except TokenRefused:
            if abs(self._now_s() - used) < CLOCK_MOVED_SECONDS:
                self.refused = True
                raise
            answer = await self._ask(role, self._now_s())  # the refusal told us the time
        self.refused = False
        wanted = {scope.value for scope in ROLE_SCOPES[role]}
        if set(answer.scope.split()) != wanted:
            raise Rejected(f"the endpoint gave another scope than {role.value}'s")
        return answer, float(answer.expires_in)

    async def _ask(self, role: Role, now: int) -> TokenAnswer:
        assert self._who is not None
        node, signer = self._who
        scope = " ".join(sorted(ROLE_SCOPES[role]))
        jti = secrets.token_urlsafe(24)
        # In a thread: a TPM signs as slowly as it likes.
        form = await asyncio.to_thread(token_form, node, self._issuer, signer, scope, now=now, jti=jti)
        self.fetched += 1
        return await self._cloud.token(form)

    async def _fetch_git(self) -> tuple[GitCredential, float]:
        token = await self.get(Role.VESSEL)
        try:
            found = await self._cloud.git_credential(token.access_token)
        except BearerRefused:
            token = await self.get(Role.VESSEL, past_cache=True)
            found = await self._cloud.git_credential(token.access_token)
        return found, float(found.expires_in)
