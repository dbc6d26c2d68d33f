"""From settings to services: opens the store, reads keys and certificates."""

from __future__ import annotations

from pathlib import Path

from agents.io.tls import server_context
from agents.supervise.context import Context, Loop
from cloud_endpoint import keyfile
from cloud_endpoint.app.factory import build_app
from cloud_endpoint.app.gitcredentials import GitCredentials
from cloud_endpoint.app.issuer import Issuer
from cloud_endpoint.app.services import Services
from cloud_endpoint.app.topics import Topics
from cloud_endpoint.loop import Server, loops, refresh_revocations
from cloud_endpoint.page.mount import Page
from cloud_endpoint.rules.ratelimit import RateLimit
from cloud_endpoint.settings import EndpointOwn
from cloud_endpoint.store import lock
from cloud_endpoint.store.sqlite import SqliteStore


def store_path(own: EndpointOwn, state_dir: Path) -> Path:
    """Where the store's file is."""
    return Path(own.store) if own.store else state_dir / "endpoint.db"


async def build(context: Context[EndpointOwn]) -> list[Loop]:
    """Local work alone, on settings that `check` found good. Raises Rejected (another endpoint on the store, a corrupt
    store, a bad key file) or Retryable."""
    own = context.settings.own
    context.stack.callback(lock.take(store_path(own, context.state_dir)).release)
    tls = server_context(Path(own.tls.cert_file), Path(own.tls.key_file))
    token_key = keyfile.load_or_create(Path(own.token_key_file or context.state_dir / "token-key.json"))
    command_key = keyfile.load_or_create(Path(own.command_key_file or context.state_dir / "command-key.json"))
    roster_key = keyfile.load_or_create(Path(own.roster_key_file or context.state_dir / "roster-key.json"))
    store = await SqliteStore.open(store_path(own, context.state_dir), context.clock.wall_ms)
    context.stack.push_async_callback(store.aclose)
    topics = Topics(store)
    services = Services(
        settings=own,
        store=store,
        clock=context.clock,
        log=context.log,
        metrics=context.metrics,
        issuer=Issuer(own.issuer, token_key),
        command_key=command_key,
        roster_key=roster_key,
        topics=topics,
        git=GitCredentials(own.git),
        by_source=RateLimit(own.limits.source_rate, own.limits.source_burst),
        by_shown=RateLimit(own.limits.shown_rate, own.limits.shown_burst),
        by_client=RateLimit(own.limits.client_rate, own.limits.client_burst),
        by_messages=RateLimit(own.limits.message_rate, own.limits.message_burst),
    )
    await refresh_revocations(services, context.health)
    page = Page(services)
    services.cookie_login = page.cookie_login
    server = Server(build_app(services, page.handlers()), own.tls, tls, services)
    context.stack.push_async_callback(server.aclose)
    return [*loops(server, services, tls, context.health), Loop("page", page.run)]
