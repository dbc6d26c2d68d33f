"""A site whose only way out is an HTTP proxy: the uplink, the cloud's other calls, updates and Git go by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from agents.contracts.codec import encode
from agents.contracts.identity import AtlasSource
from agents.contracts.ids import Stream
from agents.contracts.ingest import Envelope, IngestRequest
from agents.contracts.messages import Alert, Severity
from agents.core.errors import GalleyError, Retryable
from agents.core.settings import EndpointSettings
from agents.io.clock import SystemClock
from agents.io.state import StateFile
from agents.io.tls import client_context, server_context
from agents.io.uplink import HttpUplink
from edge_commander.cloud import Cloud
from edge_commander.update.fetch import Fetcher
from tests.fakes.endpoint import Endpoint, make_certificate, serve
from tests.site_in_a_box.forward_proxy import ForwardProxy
from tests.site_in_a_box.gitrepos import GitRepo
from tests.site_in_a_box.gitserver import GitServer
from vessel.atlases import Atlases

HOST = "192.0.2.1"
"""Reached by the proxy alone: nothing here has that address."""


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[SimpleNamespace]:
    """`settings` of a node behind the proxy; `endpoint`, a server behind it."""
    files = make_certificate(tmp_path, "far", HOST)
    endpoint = Endpoint()
    runner = await serve(endpoint, server_context(*files))
    port = int(endpoint.url.rpartition(":")[2])
    async with ForwardProxy({f"{HOST}:443": port}).serving() as proxy:
        settings = EndpointSettings(
            urls=[f"https://{HOST}"], issuer="https://issuer.example", ca_file=str(files[0]), proxy=proxy.url
        )
        yield SimpleNamespace(settings=settings, endpoint=endpoint, proxy=proxy, files=files)
    await runner.cleanup()


def request() -> IngestRequest:
    body = encode(Alert(code="c", severity=Severity.INFO, text="x"))
    return IngestRequest(stream=Stream.VESSEL, run="0" * 16, messages=[Envelope(seq=1, t=1, m=msgspec.Raw(body))])


async def token() -> str:
    return "good"


async def test_messages_reach_the_cloud_by_the_proxy_and_its_refusal_is_told_without_its_address(
    site: SimpleNamespace,
) -> None:
    uplink = HttpUplink(site.settings, token)
    try:
        assert (await uplink.ingest(request())).ack == 1
        assert site.proxy.asked == [f"{HOST}:443"]
        assert "Proxy-Authorization" not in site.endpoint.seen[0].headers
    finally:
        await uplink.aclose()
    site.proxy.status = "407 Proxy Authentication Required"
    again = HttpUplink(site.settings, token)
    try:
        with pytest.raises(Retryable) as caught:
            await again.ingest(request())
    finally:
        await again.aclose()
    assert "407" in str(caught.value) and "good" not in str(caught.value)


async def test_a_host_that_the_settings_spare_is_reached_as_it_is(site: SimpleNamespace) -> None:
    spared = msgspec.structs.replace(site.settings, no_proxy=["192.0.2.0/24"])
    uplink = HttpUplink(spared, token, timeout=0.5)
    try:
        with pytest.raises(Retryable):
            await uplink.ingest(request())
    finally:
        await uplink.aclose()
    assert site.proxy.asked == []


async def test_the_commanders_calls_and_an_update_go_by_it(site: SimpleNamespace, tmp_path: Path) -> None:
    tls = client_context(site.settings)
    cloud = Cloud(site.settings, tls, SystemClock(), lambda _: None)
    fetcher = Fetcher(tmp_path, tls, SystemClock(), endpoint=site.settings)
    try:
        with pytest.raises(GalleyError, match="404"):
            await cloud.site("good")
        with pytest.raises(GalleyError, match="404"):
            await fetcher.document(f"https://{HOST}/release.json", 1000)
    finally:
        await cloud.aclose()
        await fetcher.aclose()
    assert site.proxy.asked == [f"{HOST}:443"] * 2


async def test_the_atlas_is_fetched_by_it_whatever_the_environment_says(
    site: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    (tmp_path / "origin").mkdir()
    origin = GitRepo(tmp_path / "origin")
    first = origin.commit({"apps/a/app.yaml": "v: 1\n"})
    async with GitServer.start(origin.bare.parent, tls=server_context(*site.files)) as server:
        site.proxy.places[f"{HOST}:443"] = server.port
        atlases = Atlases(
            tmp_path / "vessel",
            fixed=AtlasSource(url=f"https://{HOST}/{origin.bare.name}", branch="main", credential="none"),
            identity=None,
            remembered=StateFile(tmp_path / "s", AtlasSource),
            ca_file=str(site.files[0]),
            endpoint=site.settings,
        )
        repository = atlases.repository()
        assert await repository.poll() == first
        await repository.fetch(first)
        assert (await repository.commit(first)).revision == first
    assert set(site.proxy.asked) == {f"{HOST}:443"} and len(site.proxy.asked) >= 2
