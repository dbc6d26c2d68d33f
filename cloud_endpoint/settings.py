"""`cloud_endpoint:` of galley.yaml. Pure."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import msgspec

from agents.core.settings import Bind, Issuer, Listener, Port, Positive
from cloud_endpoint.page.settings import PageSettings

Count = Annotated[int, msgspec.Meta(ge=1)]


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one door for devices and people. `cert_file`, `key_file`: PEM, read again on change."""

    bind: Bind = "0.0.0.0"  # noqa: S104 - a public server
    port: Port = 8443
    cert_file: str
    key_file: str


class Git(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Git credentials for the sites. `credential_file`: JSON, mode 0600, read at each request:
    `{"v": 1, "default": {"host", "username", "password"}, "sites": {"store-1": {...}}}`.
    `seconds`: how long a node may use one before it asks again; whoever rotates the file decides the rest."""

    credential_file: str | None = None
    seconds: Count = 600


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Per second and at once. `source`: requests of one source address without a login, and its refused assertions.
    `shown`: token requests and refused tokens of one source address, before anything is verified: a balancer or a
    shared address may stand for a whole fleet. `client`: requests of one client with a login, its token requests
    among them. `message`: messages of one node; the burst is what a long outage leaves in a node's outboxes."""

    source_rate: Positive = 20
    source_burst: Positive = 200
    shown_rate: Positive = 500
    shown_burst: Positive = 10_000
    client_rate: Positive = 50
    client_burst: Positive = 500
    message_rate: Positive = 50
    message_burst: Annotated[float, msgspec.Meta(ge=1000)] = 200_000


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the history is kept."""

    beats_hours: Positive = 24
    history_days: Positive = 30
    audit_days: Positive = 400
    diagnostics_days: Positive = 14


class Diagnostics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bundles that nodes send. `bundle_bytes`: the largest; `node_bundles`: of one node; `total_bytes`: of all in the
    store, as they were announced. Past those the oldest go."""

    bundle_bytes: Annotated[int, msgspec.Meta(ge=64 * 1024, le=64 * 1024 * 1024)] = 64 * 1024 * 1024
    node_bundles: Count = 3
    total_bytes: Annotated[int, msgspec.Meta(ge=64 * 1024 * 1024)] = 2 * 1024 * 1024 * 1024


class EndpointOwn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The endpoint's own section. `issuer`: the fixed address that assertions and tokens name. `urls`: where nodes
    reach this endpoint, in order of preference (default: the issuer). `health`: loopback only.
    `store`, `token_key_file`, `command_key_file`, `roster_key_file`: default in the state directory. Nodes keep to the
    roster key that they learnt: save its file with the store. `beat_seconds`: the interval that pages show for nodes
    which have not told theirs. `blast_radius`: sites that commands with one operator's signature may wipe or retire
    nodes of within 24 h; past that as many must sign as the operators' document's threshold says."""

    tls: Tls
    issuer: Issuer
    urls: list[str] = []
    health: Listener = Listener(port=8080)
    store: str | None = None
    token_key_file: str | None = None
    command_key_file: str | None = None
    roster_key_file: str | None = None
    git: Git = Git()
    limits: Limits = Limits()
    retention: Retention = Retention()
    diagnostics: Diagnostics = Diagnostics()
    beat_seconds: Positive = 15
    blast_radius: Annotated[int, msgspec.Meta(ge=0)] = 5
    page: PageSettings = PageSettings()


def problems(own: EndpointOwn) -> list[str]:
    """What the types cannot say; each with its path."""
    found = []
    if own.health.port and not _loopback(own.health.bind):
        found.append("cloud_endpoint.health.bind: must be a loopback address")
    return found


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
