"""A certificate authority of the test's own, and a server that plays the cloud endpoint behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.io.tls import server_context
from tests.fakes.endpoint import Endpoint, make_certificate, serve


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path, "authority")


@pytest.fixture
async def endpoint(authority: tuple[Path, Path]) -> AsyncIterator[Endpoint]:
    made = Endpoint()
    runner = await serve(made, server_context(*authority))
    yield made
    await runner.cleanup()
