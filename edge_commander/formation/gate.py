"""Who begins the cluster: the ballot box on ident, asked and filled through the endpoint or the siblings' election."""

from __future__ import annotations

import asyncio
import secrets as randomness
from collections.abc import Awaitable, Callable

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.election import PATH, ElectionAnswer, ElectionRequest, InitAsk, InitGrant
from agents.contracts.identity import Election, Member
from agents.core.errors import Rejected, Retryable
from edge_commander.election.box import BallotBox
from edge_commander.election.decision import Act, Because, Facts, Outcome, decide
from edge_commander.election.driver import Elector, Got
from edge_commander.election.electorate import Self
from edge_commander.formation.permission import BegunBefore, Choice
from edge_commander.formation.site import Site
from edge_commander.secrets.offer import Caller

ELECTION_SECONDS = 4.0
EARLIER = "this box began the epoch's cluster before, by the endpoint's word, and its disk does not know"
Granting = Callable[[InitAsk], Awaitable[InitGrant]]
"""The endpoint's compare-and-set, with this device's token."""


class SiblingVoters:
    """The port `Peers` of the election's driver, over the siblings' channel."""

    def __init__(self, client: Caller, member: Callable[[str], Member | None]) -> None:
        self._client = client
        self._member = member

    async def ask(self, node: str, request: ElectionRequest) -> ElectionAnswer:
        """See Peers."""
        member = self._member(node)
        if member is None:
            raise Rejected(f"{node} is not in the roster")
        said = await self._client.call(member, "POST", PATH, encode(request), timeout=2.0)
        try:
            return decode(said, ElectionAnswer)
        except ContractError as error:
            raise Retryable(f"{node}: its answer is malformed: {error}") from None


class BallotGate:
    """The port `Gate` of permission.py. `grant` None where no endpoint is configured."""

    def __init__(self, box: BallotBox, me: Self, elector: Elector, grant: Granting | None) -> None:
        self._box = box
        self._me = me
        self._elector = elector
        self._grant = grant

    async def decide(self, site: Site, *, begins: bool) -> Choice:
        """See Gate. The roster that `site` is of lies on disk by now."""
        await asyncio.to_thread(self._box.adopt, site.epoch, site.election, site.voters)
        outcome = self._outcome(site)
        if outcome.act in (Act.ASK_CLOUD, Act.VOTE, Act.LISTEN):
            if site.election is Election.CLOUD:
                await self._ask_cloud(site, want=begins and outcome.act is Act.ASK_CLOUD)
            else:
                await self._elect(propose=begins)
            outcome = self._outcome(site)
        if outcome.act is Act.INITIALISE:
            return Choice(site.me, may_begin=True)
        if outcome.act is Act.JOIN:
            return Choice(outcome.node or site.me, may_begin=False)
        raise Retryable(outcome.because.value)

    async def claim(self, site: Site) -> None:
        """See Gate. The number lies on disk before it is said, so who was cut between the two says the same again."""
        if site.election is not Election.CLOUD:
            return
        if self._grant is None:
            raise Retryable("no endpoint is configured, and the site decides by it")
        life = await asyncio.to_thread(self._box.draw_life, randomness.token_hex(16))
        said = await self._grant(InitAsk(epoch=site.epoch, begins=life))
        await asyncio.to_thread(self._box.granted, self._me, said)
        if said.begun and not said.same:
            raise BegunBefore(EARLIER)

    async def begin(self, site: Site, *, resumes: bool) -> None:
        """See Gate."""
        await asyncio.to_thread(self._box.begin_init, self._me, site.epoch, resumes=resumes)

    async def end(self, site: Site) -> None:
        """See Gate."""
        await asyncio.to_thread(self._box.end_init, site.epoch)

    async def lost(self) -> None:
        """See Gate."""
        await asyncio.to_thread(self._box.wiped)

    def _outcome(self, site: Site) -> Outcome:
        return decide(Facts(self._box.state, self._me, site.epoch, site.election))

    async def _ask_cloud(self, site: Site, *, want: bool) -> None:
        if self._grant is None:
            raise Retryable("no endpoint is configured, and the site decides by it")
        grant = await self._grant(InitAsk(epoch=site.epoch, want=want))
        await asyncio.to_thread(self._box.granted, self._me, grant)

    async def _elect(self, *, propose: bool) -> None:
        result = await self._elector.run(ELECTION_SECONDS, propose=propose)
        if result.got is Got.FENCED:
            raise Retryable(f"a sibling knows epoch {result.epoch}: {Because.OLD_ROSTER.value}")
        if result.got is Got.WAITING:
            raise Retryable(f"no majority of the voters answers; silent: {', '.join(result.silent) or 'none'}")
