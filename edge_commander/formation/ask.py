"""What is asked of siblings one after another or all at once. Touches their channel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from agents.contracts.identity import Member
from agents.contracts.siblings import FormationStatus, SlotAnswer, SlotRequest
from agents.core.errors import GalleyError
from edge_commander.formation.site import Site
from edge_commander.reasons import Reason, Why
from edge_commander.secrets.model import SiteSecrets


class Siblings(Protocol):
    """Over the mutually authenticated channel. Each raises Retryable or Rejected."""

    async def status(self, member: Member) -> FormationStatus:
        """How far it is."""

    async def secrets(self, member: Member, site: str, epoch: int) -> SiteSecrets:
        """The epoch's secrets, opened and checked."""


class Ushers(Protocol):
    """Members that let others join."""

    async def slot(self, member: Member, request: SlotRequest) -> SlotAnswer:
        """Whether it is our turn to join. Raises Retryable or Rejected."""


async def statuses(
    siblings: Siblings,
    members: Iterable[Member],
    hear: Callable[[Member, FormationStatus | GalleyError], None] = lambda member, said: None,
) -> dict[str, FormationStatus]:
    """Answers by node, of those members that have keys and answer. `hear`: each answer, or why there is none, when it
    comes."""

    async def one(member: Member) -> FormationStatus | None:
        try:
            answer = await siblings.status(member)
        except GalleyError as error:
            hear(member, error)
            return None
        hear(member, answer)
        return answer

    asked = [member for member in members if member.signing]
    said = await asyncio.gather(*map(one, asked))
    return {member.node: answer for member, answer in zip(asked, said, strict=True) if answer is not None}


async def secrets_of(
    siblings: Siblings, site: Site, holders: Sequence[str], log: FilteringBoundLogger, *, above: int = 0
) -> tuple[str, SiteSecrets] | None:
    """The epoch's secrets, of a generation above `above`, and which holder gave them; None where none does."""
    for node in holders:
        try:
            secrets = await siblings.secrets(site.others[node], site.site, site.epoch)
        except GalleyError as error:
            log.info("a sibling did not give the secrets", sibling=node, cause=str(error))
            continue
        if secrets.generation > above:
            return node, secrets
    return None


async def slot_of(
    siblings: Ushers, site: Site, members: Sequence[str], log: FilteringBoundLogger, *, fresh: bool
) -> tuple[tuple[str, ...], Reason]:
    """Addresses of servers to join by, where one of the members says that it is our turn; else none, and why."""
    text = ""
    for node in members:
        try:
            answer = await siblings.slot(site.others[node], SlotRequest(epoch=site.epoch, fresh=fresh))
        except GalleyError as error:
            log.info("a member did not answer", sibling=node, cause=str(error))
            continue
        if answer.granted and answer.servers:
            return tuple(answer.servers), Reason(Why.STARTING, "join")
        if answer.holder:
            return (), Reason(Why.TURN, answer.reason or f"{answer.holder} is joining")
        text = answer.reason  # one whose own API server is down keeps nobody out: the next one is asked
    log.info("no member gave a turn", cause=text)
    return (), Reason(Why.TURN, text or "no member answers")
