"""A Git server that holds the fetch: what is on disk is handed out meanwhile."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from aiohttp import web

from agents.core.errors import Retryable
from tests.site_in_a_box.atlas_clone import Serve, atlas
from tests.site_in_a_box.gitrepos import GitRepo
from vessel.git.clone import CloneBounds


async def test_a_tree_on_disk_waits_for_no_hanging_fetch(tmp_path: Path, origin: GitRepo) -> None:
    first = atlas(tmp_path, origin.url)
    revision = (await first.fetch(await first.poll())).revision
    tree = await first.checkout(revision)
    asked = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        asked.set()
        await asyncio.sleep(60)
        return web.Response()

    async with Serve(hang) as url:
        repository = atlas(tmp_path, f"{url}/a.git", bounds=CloneBounds(fetch_seconds=4))
        began = time.monotonic()
        fetching = asyncio.create_task(repository.fetch("a" * 40))
        await asyncio.wait_for(asked.wait(), 3)
        assert await repository.checkout(revision, keep=[revision]) == tree
        assert not fetching.done()
        with pytest.raises(Retryable, match="did not end in time"):
            await fetching
        assert time.monotonic() - began >= 4


async def test_a_tree_is_removed_whole_or_not_at_all(
    tmp_path: Path, origin: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it removes one: the next start finds nothing under the revision's name."""
    repository = atlas(tmp_path, origin.url)
    old = (await repository.fetch(await repository.poll())).revision
    tree = await repository.checkout(old)
    new = origin.commit({"c.yaml": "a: 1\n"})
    await repository.fetch(await repository.poll())
    with monkeypatch.context() as patch:
        patch.setattr("vessel.git.clone.shutil.rmtree", lambda *_, **__: None)
        await repository.checkout(new, keep=[new])
    assert not tree.exists()
    again = atlas(tmp_path, origin.url)
    await again.commit(new)
    assert [path.name for path in (tmp_path / "state" / "trees").iterdir()] == [new]
