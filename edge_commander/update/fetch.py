"""Fetches the files of a release over a bad line: byte ranges, gone on with where it was cut. Touches the net and disk.

Source of the rules: RFC 9110 section 14 (range requests).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import ssl
from collections.abc import Callable
from pathlib import Path

import aiohttp

from agents.contracts.release import ReleaseFile
from agents.core.errors import Rejected, Retryable
from agents.core.ports import Clock
from agents.core.proxy import through
from agents.core.settings import EndpointSettings
from agents.io.http import cause, failure, read_beginning, read_limited
from edge_commander.images.bucket import TokenBucket

SILENT_SECONDS = 60.0
FLUSH_BYTES = 8 * 1024 * 1024
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


class Mismatch(Retryable):
    """A file came whole, and is not what the release says; it is fetched anew."""


class Fetcher:
    """One connection; `aclose` when done. `endpoint`: its proxy is the one for updates too."""

    def __init__(
        self,
        folder: Path,
        tls: ssl.SSLContext,
        clock: Clock,
        *,
        rate: int = 0,
        endpoint: EndpointSettings | None = None,
    ) -> None:
        self._folder = folder
        self._tls = tls
        self._endpoint = endpoint
        self._clock = clock
        self._bucket = TokenBucket(rate, rate, clock.monotonic()) if rate else None
        self._session: aiohttp.ClientSession | None = None

    def begun(self, name: str) -> int:
        """Bytes of it that are here, whole or not."""
        try:
            return (self._folder / name).stat().st_size
        except OSError:
            return 0

    async def document(self, url: str, limit: int) -> bytes:
        """A small file, whole. Raises Retryable, Rejected."""
        try:
            async with self._open().get(url, allow_redirects=False, proxy=self._proxy(url)) as answer:
                if answer.status != 200:
                    raise await self._failure("the release's document", answer)
                return await read_limited(answer, limit)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Retryable(f"the release's document: {cause(error)}") from None
        except ValueError:
            raise Rejected("the release's address is none") from None

    async def file(
        self, url: str, name: str, wanted: ReleaseFile, came: Callable[[int], None] = lambda count: None
    ) -> None:
        """Brings `name` to the folder, whole and checked. `came` hears how many bytes are here. Raises Mismatch,
        Retryable (what came is kept), Rejected."""
        path = self._folder / name
        try:
            start = self.begun(name)
            if start > wanted.size:
                path.unlink()
                start = 0
            if start < wanted.size:
                await self._rest(url, path, start, wanted, came)
            if await asyncio.to_thread(_digest, path) != wanted.sha256:
                path.unlink(missing_ok=True)
                raise Mismatch(f"{name}: its SHA-256 is not the release's")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Retryable(f"{name}: {cause(error)}") from None
        except OSError as error:
            raise Retryable(f"{path}: {error.strerror or type(error).__name__}") from None

    async def _rest(self, url: str, path: Path, start: int, wanted: ReleaseFile, came: Callable[[int], None]) -> None:
        headers = {"Range": f"bytes={start}-"} if start else {}
        proxy = self._proxy(url)
        async with self._open().get(url, headers=headers, allow_redirects=False, proxy=proxy) as answer:
            offset = _offset(answer.status, answer.headers.get("Content-Range", ""), start, wanted.size)
            if offset is None:
                raise await self._failure(path.name, answer)
            if answer.status == 200 and (length := answer.content_length) is not None and length < wanted.size:
                # A page that says "back soon", of a server that calls that 200: what came before it is worth more.
                raise Retryable(f"{path.name}: the answer has {length} bytes, the release's file {wanted.size}")
            with path.open("r+b" if offset else "wb") as out:
                out.truncate(offset)
                out.seek(offset)
                await self._stream(answer, out.fileno(), offset, wanted.size, came)
        if self.begun(path.name) < wanted.size:
            raise Retryable(f"{path.name}: the answer ended early")

    async def _stream(
        self, answer: aiohttp.ClientResponse, out: int, at: int, size: int, came: Callable[[int], None]
    ) -> None:
        flushed = at
        try:
            async for piece in answer.content.iter_chunked(65536):
                if at + len(piece) > size:
                    raise Rejected("is longer than the release says", file=str(answer.url))
                await asyncio.to_thread(_write, out, piece)
                at += len(piece)
                came(at)
                if at - flushed >= FLUSH_BYTES:
                    await asyncio.to_thread(os.fsync, out)
                    flushed = at
                if self._bucket is not None:
                    await self._clock.sleep(self._bucket.take(len(piece), self._clock.monotonic()))
        finally:
            await asyncio.to_thread(os.fsync, out)

    async def _failure(self, what: str, answer: aiohttp.ClientResponse) -> Retryable | Rejected:
        """By its status, however long the page is that comes with it."""
        begun = await read_beginning(answer, 65536)
        return failure(what, answer.status, answer.headers, begun, self._clock.wall_ms())

    def _proxy(self, url: str) -> str | None:
        return through(self._endpoint, url)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls, limit=1),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},  # what was signed is the bytes
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=SILENT_SECONDS),
                auto_decompress=False,
            )
        return self._session

    async def aclose(self) -> None:
        """Closes the connection."""
        if self._session is not None:
            await self._session.close()


def _offset(status: int, content_range: str, start: int, size: int) -> int | None:
    """Where in the file the answer's body begins; None for an answer that is none. Raises Retryable for a range that
    was not asked for."""
    if status == 200:
        return 0
    if status != 206:
        return None
    found = _RANGE.fullmatch(content_range)
    if found is None or int(found[1]) != start or found[3] not in ("*", str(size)):
        raise Retryable(f"the answer is for {content_range or 'no range'}, not for bytes from {start} of {size}")
    return start


def _write(out: int, piece: bytes) -> None:
    """All of it: a disk that is nearly full takes a part."""
    view = memoryview(piece)
    while view:
        view = view[os.write(out, view) :]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
