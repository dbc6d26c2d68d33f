"""What the identity socket answers on each route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from agents.contracts.identity import GitCredential, SiteDocument, TokenAnswer
from agents.core.errors import Retryable
from agents.core.ports import Outbox
from edge_commander.access import Caller, Route
from edge_commander.memory import Memory
from edge_commander.socket_server import Answer
from edge_commander.tokens import Tokens
from edge_commander.trust.view import TrustView
from edge_commander.view import Around, SnapshotView, StatusDocument, of_record

WAIT_SECONDS = 5.0


async def nothing_around() -> Around:
    """Where only the durable record is shown."""
    return Around()


def routes(
    memory: Memory,
    tokens: Tokens | None,
    outbox: Outbox,
    trust: Callable[[], TrustView | None] = lambda: None,
    *,
    generations: Callable[[], tuple[int, int]] = lambda: (0, 0),
    snapshot: Callable[[], SnapshotView | None] = lambda: None,
    around: Callable[[], Awaitable[Around]] = nothing_around,
) -> Mapping[Route, Answer]:
    """The table, route to answer. `trust`, `snapshot`, `around`: as shown now; `generations`: see of_record."""

    def known() -> Tokens:
        if tokens is None:
            raise Retryable("no endpoint is configured", retry_after=300.0)
        return tokens

    async def token(who: Caller, past_cache: bool) -> TokenAnswer:
        assert who.role is not None
        return await known().get(who.role, past_cache=past_cache)

    async def site(who: Caller, past_cache: bool) -> SiteDocument:
        if memory.site is None:
            raise Retryable(
                f"no site yet: {memory.record.reason.text or memory.record.state.value}", retry_after=WAIT_SECONDS
            )
        return memory.site

    async def git_credential(who: Caller, past_cache: bool) -> GitCredential:
        return await known().git_credential()

    async def status(who: Caller, past_cache: bool) -> StatusDocument:
        pending = await outbox.pending()
        return of_record(
            memory.record,
            pending=pending,
            ledger=memory.ledger,
            trust=trust(),
            generations=generations(),
            snapshot=snapshot(),
            around=await around(),
        )

    table: dict[Route, Any] = {
        Route.TOKEN: token,
        Route.SITE: site,
        Route.GIT_CREDENTIAL: git_credential,
        Route.STATUS: status,
    }
    return table
