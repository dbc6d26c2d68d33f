"""Fixtures of the store's contract: each implementation, opened again and again on the same data."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud_endpoint.store.port import Store
from cloud_endpoint.store.sqlite import SqliteStore
from tests.fakes.store_kit import Clock, Opener


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Opener:
    """Opens the same store, again and again."""
    assert request.param == "sqlite"
    return lambda: SqliteStore.open(tmp_path / "store.db", clock)


@pytest.fixture
async def store(reopen: Opener) -> AsyncIterator[Store]:
    one = await reopen()
    yield one
    await one.aclose()
