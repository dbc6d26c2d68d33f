"""A real endpoint process over TLS for the tests of this folder, and enrolled devices."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from agents.core.jose import SoftwareKey
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """One process for all tests; each takes sites and devices of its own."""
    limits = {"source_rate": 1000, "source_burst": 5000, "client_rate": 1000, "client_burst": 5000}
    one = Endpoint(tmp_path_factory.mktemp("endpoint"), limits=limits)
    one.start()
    try:
        yield one
    finally:
        one.stop()
    assert one.program.returncode == 0, one.program.log_tail()


@pytest.fixture
async def operator(endpoint: Endpoint) -> AsyncIterator[EndpointClient]:
    async with endpoint.operator() as client:
        yield client


@pytest.fixture
async def site(operator: EndpointClient) -> str:
    """A new site's id."""
    name = f"store-{next(_numbers):05d}"
    await operator.put_site(name)
    return name


@pytest.fixture
async def device(endpoint: Endpoint, operator: EndpointClient, site: str) -> AsyncIterator[EndpointClient]:
    """An enrolled device of `site`."""
    hardware = f"hw-{next(_numbers)}"
    code = await operator.ship(hardware, site, "node-1")
    async with endpoint.client("", SoftwareKey.generate()) as client:
        status, body = await client.enrol(hardware, code)
        assert (status, body["status"]) == (200, "enrolled")
        yield client
