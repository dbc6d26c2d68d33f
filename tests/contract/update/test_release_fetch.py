"""A release comes over a bad line: cut anywhere it goes on where it was; what a server gets wrong is found."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from agents.contracts.release import ReleaseFile
from agents.core.errors import Rejected, Retryable
from agents.io.clock import SystemClock
from edge_commander.update import fetch
from edge_commander.update.fetch import Fetcher, Mismatch
from edge_commander.update.record import UpdateRecord
from edge_commander.update.store import UpdateStore
from tests.site_in_a_box.ports import free_port

DATA = random.Random(5).randbytes(3_000_000)
WANTED = ReleaseFile(sha256=hashlib.sha256(DATA).hexdigest(), size=len(DATA))


class Shop:
    """Serves DATA with ranges; `cut`: bytes after which the line goes; `lie`: how it answers wrongly."""

    def __init__(self) -> None:
        self.data = DATA
        self.cut = 0
        self.lie = ""
        self.sent = 0
        self.ranges: list[str] = []
        self.read, self.caught = 0, asyncio.Event()

    def came(self, count: int) -> None:
        self.read = count
        if count % self.cut == 0:
            self.caught.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("Range", "")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if self.lie == "compress":
            answer = web.Response(body=self.data)
            answer.enable_compression()
            return answer
        if self.lie == "status":
            return web.Response(status=503, headers={"Retry-After": "7"})
        if self.lie == "endless numbers":
            return web.Response(status=206, headers={"Content-Range": f"bytes {'9' * 5000}-1/2"})
        if self.lie == "endless zone":
            return web.Response(status=503, headers={"Retry-After": f"Mon, 01 Jan 2020 00:00:00 +{'9' * 400}"})
        if self.lie == "long page":
            return web.Response(status=404, text="<html>" * 50_000)
        if self.lie == "back soon":
            return web.Response(text="<html>back soon</html>")
        if self.lie == "redirect":
            return web.Response(status=302, headers={"Location": "https://elsewhere.example/"})
        whole = not asked or self.lie == "no ranges"
        if whole:
            start = 0
        told = start + 1 if self.lie == "other range" else start
        headers = {} if whole else {"Content-Range": f"bytes {told}-{len(self.data) - 1}/{len(self.data)}"}
        response = web.StreamResponse(status=200 if whole else 206, headers=headers)
        response.content_length = len(self.data) - start
        await response.prepare(request)
        end = min(len(self.data), start + self.cut) if self.cut else len(self.data)
        for at in range(start, end, 65536):
            piece = self.data[at : min(end, at + 65536)]
            await response.write(piece)
            self.sent += len(piece)
        if end < len(self.data) and request.transport is not None:
            self.caught.clear()
            if self.read < end:  # as on a slow line: what came was read before it is cut
                await self.caught.wait()
            request.transport.close()
        return response


@pytest.fixture
async def shop() -> AsyncIterator[tuple[Shop, str]]:
    one = Shop()
    app = web.Application()
    app.router.add_get("/{name}", one.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield one, f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
async def fetcher(tmp_path: Path) -> AsyncIterator[Fetcher]:
    one = Fetcher(tmp_path, ssl.create_default_context(), SystemClock())
    yield one
    await one.aclose()


async def test_cut_again_and_again_it_sends_each_byte_about_once(
    shop: tuple[Shop, str], fetcher: Fetcher, tmp_path: Path
) -> None:
    served, url = shop
    served.cut = 400_000
    for _ in range(40):
        try:
            await fetcher.file(f"{url}/root.img", "root.img", WANTED, served.came)
            break
        except Retryable:
            continue
    assert (tmp_path / "root.img").read_bytes() == DATA
    assert served.read == len(DATA)
    assert served.sent == len(DATA)
    assert served.ranges[0] == ""
    assert all(one.startswith("bytes=") for one in served.ranges[1:])


async def test_a_server_without_ranges_begins_anew_and_ends_the_same(
    shop: tuple[Shop, str], fetcher: Fetcher, tmp_path: Path
) -> None:
    served, url = shop
    (tmp_path / "root.img").write_bytes(b"what came before" * 100)
    served.lie = "no ranges"
    await fetcher.file(f"{url}/root.img", "root.img", WANTED, lambda count: None)
    assert (tmp_path / "root.img").read_bytes() == DATA


async def test_what_begins_with_other_bytes_is_found_and_fetched_anew(
    shop: tuple[Shop, str], fetcher: Fetcher, tmp_path: Path
) -> None:
    _, url = shop
    (tmp_path / "root.img").write_bytes(b"\0" * 1000)
    with pytest.raises(Mismatch, match=r"root\.img"):
        await fetcher.file(f"{url}/root.img", "root.img", WANTED, lambda count: None)
    assert not (tmp_path / "root.img").exists()
    await fetcher.file(f"{url}/root.img", "root.img", WANTED, lambda count: None)


async def test_what_is_longer_than_the_release_says_is_refused(shop: tuple[Shop, str], fetcher: Fetcher) -> None:
    served, url = shop
    served.data = DATA + b"more"
    with pytest.raises(Rejected, match="longer than the release says"):
        await fetcher.file(f"{url}/root.img", "root.img", WANTED, lambda count: None)


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        ("status", Retryable),
        ("back soon", Retryable),
        ("other range", Retryable),
        ("redirect", Rejected),
        ("endless numbers", Retryable),
        ("endless zone", Retryable),
    ],
)
async def test_a_wrong_answer_changes_nothing_of_what_is_here(
    shop: tuple[Shop, str], fetcher: Fetcher, tmp_path: Path, lie: str, error: type[Exception]
) -> None:
    served, url = shop
    (tmp_path / "root.img").write_bytes(DATA[:1000])
    served.lie = lie
    with pytest.raises(error):
        await fetcher.file(f"{url}/root.img", "root.img", WANTED, lambda count: None)
    assert (tmp_path / "root.img").read_bytes() == DATA[:1000]


async def test_nothing_listens_there(fetcher: Fetcher) -> None:
    with pytest.raises(Retryable, match=r"root\.img"):
        await fetcher.file(f"http://127.0.0.1:{free_port()}/root.img", "root.img", WANTED, lambda count: None)


async def test_a_fetch_that_is_cancelled_keeps_what_came(
    shop: tuple[Shop, str], fetcher: Fetcher, tmp_path: Path
) -> None:
    _, url = shop
    came = asyncio.Event()
    task = asyncio.create_task(
        fetcher.file(f"{url}/root.img", "root.img", WANTED, lambda count: came.set() if count > 200_000 else None)
    )
    await came.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    begun = fetcher.begun("root.img")
    assert (tmp_path / "root.img").read_bytes() == DATA[:begun]


async def test_a_server_that_likes_to_compress_gives_the_bytes_that_were_signed(
    shop: tuple[Shop, str], fetcher: Fetcher
) -> None:
    served, url = shop
    served.lie, served.data = "compress", b'{"v":1}' * 500
    assert await fetcher.document(f"{url}/release.json", 16384) == served.data


async def test_a_disk_that_takes_a_part_of_a_write_gets_the_rest_of_it(
    shop: tuple[Shop, str], fetcher: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda out, data: write(out, data[: max(1, len(data) * 2 // 3)]))
    await fetcher.file(f"{shop[1]}/root.img", "root.img", WANTED, lambda count: None)
    assert (tmp_path / "root.img").read_bytes() == DATA


async def test_a_disk_that_cannot_be_read_or_is_full_is_tried_again(
    shop: tuple[Shop, str], fetcher: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else's work is ended for it: the whole daemon would start anew, and meet the same again."""
    (tmp_path / "root.img").write_bytes(DATA)

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(fetch, "_digest", fails)
        with pytest.raises(Retryable, match="Input/output error"):
            await fetcher.file(f"{shop[1]}/root.img", "root.img", WANTED, lambda count: None)
    store = UpdateStore(tmp_path, tmp_path / "release")
    store.record = UpdateRecord(id="a" * 32, version="1.3.0", sha256="2" * 64, address="https://images.example")
    with pytest.raises(Retryable, match="No such file"):
        store.checked("root.img", "1" * 64)


async def test_an_address_that_is_none_ends_it_and_not_the_daemon(fetcher: Fetcher) -> None:
    """As a command named it that an older version took up."""
    with pytest.raises(Rejected, match="address is none"):
        await fetcher.document("https://images..example/release.json", 16384)


async def test_a_long_page_that_says_it_is_not_here_is_that_word(shop: tuple[Shop, str], fetcher: Fetcher) -> None:
    served, url = shop
    served.lie = "long page"
    with pytest.raises(Rejected, match="HTTP 404"):
        await fetcher.document(f"{url}/release.json", 16384)
    with pytest.raises(Rejected, match="HTTP 404"):
        await fetcher.file(f"{url}/root.img", "root.img", WANTED)
