"""What all handlers share, built once by `__main__`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from agents.core.jose import SoftwareKey
from agents.core.ports import Clock
from agents.supervise.metrics import Metrics
from cloud_endpoint.app.gitcredentials import GitCredentials
from cloud_endpoint.app.issuer import Issuer
from cloud_endpoint.app.principal import Principal
from cloud_endpoint.app.topics import Topics
from cloud_endpoint.rules.ratelimit import RateLimit
from cloud_endpoint.settings import EndpointOwn
from cloud_endpoint.store.port import Store

CookieLogin = Callable[[web.Request], Awaitable[Principal | None]]
"""Whose session the request's cookie is, with the CSRF check of a write; None without one. May raise Problem."""


@dataclass
class Services:
    """`by_source`: limit of requests without a login; `by_shown`: of those that show an assertion or a token not yet
    verified; `by_client`: with a login; `by_messages`: of a node's messages."""

    settings: EndpointOwn
    store: Store
    clock: Clock
    log: FilteringBoundLogger
    metrics: Metrics
    issuer: Issuer
    command_key: SoftwareKey
    roster_key: SoftwareKey
    topics: Topics
    git: GitCredentials
    by_source: RateLimit
    by_shown: RateLimit
    by_client: RateLimit
    by_messages: RateLimit
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    cookie_login: CookieLogin | None = None

    @property
    def urls(self) -> list[str]:
        """Where nodes and people reach this endpoint."""
        return self.settings.urls or [self.settings.issuer]


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal", Principal)


def services(request: web.Request) -> Services:
    """The services of the application."""
    return request.app[SERVICES]


def principal(request: web.Request) -> Principal:
    """Who asks; only behind the gate, on routes with a login."""
    return request[PRINCIPAL]
