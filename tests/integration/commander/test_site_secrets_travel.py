"""A site's secrets over the siblings' channel: the first server's to every other one, and to nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agents.contracts.codec import encode
from agents.contracts.identity import Member
from agents.contracts.ids import NodeId
from agents.core.errors import Rejected, Retryable
from edge_commander.secrets.authority import make_next, make_secrets
from edge_commander.secrets.model import SiteSecrets
from edge_commander.secrets.offer import ROUTE, Ask, fetch_secrets, offer
from edge_commander.secrets.sealing import seal_secrets
from edge_commander.secrets.store import SecretsStore
from tests.fakes.siblings import Sibling, know_one_another

SITE = "store-01234"


class Server(Sibling):
    """A sibling with a store; `servers` are those that it gives secrets to (its whole roster by default)."""

    servers: list[Member] | None = None

    def open_store(self) -> None:
        self.store = SecretsStore(self.run_dir)

    async def offer(self) -> None:
        self.open_store()
        handler = offer(
            self.node,
            self.keys,
            lambda: self.store.secrets,
            lambda: self.roster if self.servers is None else self.servers,
        )
        await self.serve({ROUTE: handler})

    async def fetch(self, epoch: int = 1, generation: int = 1) -> SiteSecrets:
        return await fetch_secrets(
            self.client, self.roster, node=self.node, keys=self.keys, site=SITE, epoch=epoch, generation=generation,
            timeout=2.0,
        )  # fmt: skip


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[list[Server]]:
    async with AsyncExitStack() as stack:
        nodes = []
        for name in "abc":
            (tmp_path / name).mkdir()
            node = Server(f"nuc-{name}", tmp_path / name)
            stack.push_async_callback(node.aclose)
            await node.offer()
            nodes.append(node)
        know_one_another(nodes)
        yield nodes


async def test_what_the_first_server_made_reaches_every_other(site: list[Server]) -> None:
    first, second, third = site
    with pytest.raises(Retryable, match="HTTP 404"):
        await second.fetch()
    first.store.save(make_secrets(SITE, 1, first.time))
    with capture_logs() as logs:
        for other in (second, third):
            other.store.save(await other.fetch())
    assert second.store.secrets == third.store.secrets == first.store.secrets is not None
    assert await first.fetch() == first.store.secrets, "the first, wiped, gets them back"
    assert first.store.secrets.token not in str(logs)


async def test_the_newest_generation_wins_and_an_old_one_is_not_enough(site: list[Server]) -> None:
    first, second, third = site
    secrets = make_secrets(SITE, 1, first.time)
    for node in site:
        node.store.save(secrets)
    with pytest.raises(Retryable):
        await third.fetch(generation=2)
    renewed = make_next(secrets, 2, 1, first.time, keys=True)
    first.store.save(renewed)
    assert await third.fetch() == renewed == await second.fetch(generation=2)


async def test_siblings_that_disagree_are_found_out(site: list[Server]) -> None:
    """Two sets for one epoch are two clusters: nothing is taken from either."""
    first, second, third = site
    secrets = make_secrets(SITE, 1, first.time)
    first.store.save(secrets)
    for other in (
        make_secrets(SITE, 1, first.time),
        make_next(make_secrets(SITE, 1, first.time), 2, 1, first.time, keys=True),
    ):
        second.store.clear()
        second.store.save(other)
        with pytest.raises(Rejected, match="hold different secrets of store-01234, epoch 1"):
            await third.fetch()
    second.store.clear()
    second.store.save(make_next(secrets, 2, 1, first.time, keys=True))
    first.store.save(make_next(secrets, 2, 1, first.time, keys=True))
    with pytest.raises(Rejected, match="hold different secrets"):
        await third.fetch()


async def test_another_epochs_are_not_given(site: list[Server]) -> None:
    site[0].store.save(make_secrets(SITE, 2, site[0].time))
    for epoch in (1, 3):
        with pytest.raises(Retryable, match="HTTP 404"):
            await site[1].fetch(epoch=epoch)


async def test_a_member_that_is_no_server_gets_none(site: list[Server]) -> None:
    first, second, third = site
    first.store.save(make_secrets(SITE, 1, first.time))
    first.servers = [first.member, third.member]
    with pytest.raises(Retryable, match="HTTP 403"):
        await second.fetch()
    assert await third.fetch() == first.store.secrets


async def test_dead_siblings_do_not_hold_up_the_others(site: list[Server]) -> None:
    first, second, third = site
    first.store.save(make_secrets(SITE, 1, first.time))
    assert second.server is not None and first.server is not None
    await second.server.aclose()
    assert await third.fetch() == first.store.secrets
    await first.server.aclose()
    with pytest.raises(Retryable, match=r"refused.*refused"):
        await third.fetch()


async def test_a_malformed_request_is_refused(site: list[Server]) -> None:
    with pytest.raises(Rejected, match="HTTP 400"):
        await site[1].client.call(site[0].member, *ROUTE, b"{}")


async def test_what_a_sibling_passes_on_is_refused(site: list[Server]) -> None:
    """The member that was asked must have signed it: another's parcel, though genuine, is not taken from it."""
    first, second, third = site
    secrets = make_secrets(SITE, 1, first.time)

    async def replay(peer: NodeId, body: bytes) -> tuple[int, bytes]:
        sealed = seal_secrets(secrets, sender=first.node, signer=first.keys.signer, recipient=third.member)
        return 200, sealed.encode()

    assert second.server is not None
    second.server._routes[ROUTE] = replay
    with pytest.raises(Retryable, match="no server of this site's roster"):
        await third.fetch()


async def test_rubbish_from_a_sibling_is_refused(site: list[Server]) -> None:
    async def rubbish(peer: NodeId, body: bytes) -> tuple[int, bytes]:
        return 200, b"\xff" * 1000

    for node in site[1:]:
        assert node.server is not None
        node.server._routes[ROUTE] = rubbish
    with pytest.raises(Retryable, match="not a compact JWE"):
        await site[0].fetch()


async def test_a_node_alone_says_so(site: list[Server]) -> None:
    del site[0].roster[1:]
    with pytest.raises(Retryable, match="there is no other server"):
        await site[0].fetch()
    assert encode(Ask(site=SITE, epoch=1)) == b'{"v":1,"site":"store-01234","epoch":1,"generation":1}'
