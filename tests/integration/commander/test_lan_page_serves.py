"""The page's real process: what it serves to whom, and what strangers can do to it, and to the commander through it."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from agents.contracts.messages import NodeState
from edge_commander.lan_page import server
from edge_commander.lan_page.request import MAX_HEAD
from edge_commander.lan_page.server import ANSWER_SECONDS, MOST, MOST_EACH
from edge_commander.reasons import Why
from edge_commander.view import StatusDocument
from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.process import Program

NODE = "n-abcdefghij234567"
PATIENCE = 60.0
"""For a busy machine; nothing here is judged by time."""


@dataclass
class Commander:
    """Stands where Edge Commander's socket is, and counts who asks. `silent`: it takes connections and says nothing."""

    asked: int = 0
    silent: bool = False
    reason: str = Why.APPROVAL.value

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if self.silent:
                await reader.read()
            else:
                document = StatusDocument(
                    state=NodeState.ENROLLING, reason=self.reason, since=1, node=NODE, site="store-01234"
                )
                body = msgspec.json.encode(document)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
        writer.close()


@dataclass
class Page:
    """The process and where it is."""

    folder: Path
    commander: Commander
    program: Program
    port: int

    def settings(self, more: str) -> None:
        new = self.folder / "new"
        new.write_text(f"v: 1\nnode: {{run_dir: {self.folder}}}\n{more}\n")
        new.replace(self.folder / "galley.yaml")

    def serve_at(self, port: int, bind: str = "127.0.0.1") -> None:
        self.port = port
        self.settings(f"edge_commander: {{page: {{bind: {bind}, port: {port}}}}}")

    async def ask(self, sent: bytes = b"GET / HTTP/1.0\r\n\r\n", source: str = "127.0.0.1") -> bytes:
        """All that comes back; what came before the connection was reset, too."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
        got = b""
        try:
            writer.write(sent)
            await writer.drain()
            async with asyncio.timeout(PATIENCE):
                while data := await reader.read(65536):
                    got += data
        except ConnectionError:
            pass
        finally:
            writer.close()
        return got

    async def until(self, right: Callable[[bytes], bool]) -> bytes:
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(OSError):
                    got = await self.ask()
                    if right(got):
                        return got
                await asyncio.sleep(0.1)

    def memory(self) -> int:
        """PSS, bytes."""
        text = Path(f"/proc/{self.program.pid}/smaps_rollup").read_text()
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:"))) * 1024

    def descriptors(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.program.pid}/fd").iterdir())


@pytest_asyncio.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    commander = Commander()
    listening = await asyncio.start_unix_server(commander.serve, tmp_path / "identity.sock")
    command = [sys.executable, "-m", "edge_commander.lan_page", "--config", str(tmp_path / "galley.yaml")]
    program = Program("lan-page", command, log=tmp_path / "page.log")
    page = Page(tmp_path, commander, program, 0)
    page.serve_at(free_port())
    program.start()
    try:
        await page.until(lambda got: b"200 OK" in got)
        yield page
    finally:
        program.stop()
        listening.close()


def status(got: bytes) -> int:
    return int(got.split(b" ", 2)[1]) if got else 0


async def test_it_shows_the_node_and_lets_nobody_do_anything(page: Page) -> None:
    got = await page.ask(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    fields, _, body = got.partition(b"\r\n\r\n")
    assert status(got) == 200 and NODE.encode() in body and b"approval" in body and b"store-01234" in body
    assert body.count(b"<!doctype html>") == 1  # one request a connection
    assert b"Content-Security-Policy: default-src 'none'" in fields
    assert (await page.ask(b"HEAD / HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\n")
    for method in (b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE"):
        sent = method + b" / HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody"
        assert status(await page.ask(sent)) == 405
    assert status(await page.ask(b"GET /v1/token HTTP/1.0\r\n\r\n")) == 404
    assert status(await page.ask(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")) == 421
    assert status(await page.ask(b"\x16\x03\x01\x00\xff" + b"\0" * 100 + b"\r\n\r\n")) == 400


async def test_requests_of_any_size_are_answered_or_cut_off_and_hold_nothing(page: Page) -> None:
    before = page.memory()
    large = b"GET / HTTP/1.0\r\nX: " + b"a" * MAX_HEAD
    assert status(await page.ask(large)) == 431
    for _ in range(20):  # 20 times 8 MB
        assert status(await page.ask(b"GET / HTTP/1.0\r\nX: " + b"a" * 8_000_000)) in (431, 0)
    assert status(await page.ask(b"GET / HTTP/1.0\r\n\r\n" + b"b" * 8_000_000)) in (200, 0)
    assert status(await page.ask()) == 200
    assert page.memory() < before + 8_000_000


async def test_many_who_only_hold_on_keep_nobody_out(page: Page) -> None:
    held: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    try:
        for i in range(MOST * 3):
            source = f"127.0.1.{i // MOST_EACH + 1}"
            one = await asyncio.open_connection("127.0.0.1", page.port, local_addr=(source, 0))
            one[1].write(b"GET / HT")
            held.append(one)
        assert status(await page.ask(source="127.0.2.1")) == 200
        assert page.descriptors() < MOST + 24
    finally:
        for _, writer in held:
            writer.close()


async def test_one_address_has_its_share_and_no_more(page: Page) -> None:
    held = [
        await asyncio.open_connection("127.0.0.1", page.port, local_addr=("127.0.3.1", 0)) for _ in range(MOST_EACH)
    ]
    assert status(await page.ask(source="127.0.3.1")) == 0
    assert status(await page.ask(source="127.0.3.2")) == 200
    for _, writer in held:
        writer.close()
    async with asyncio.timeout(PATIENCE):
        while status(await page.ask(source="127.0.3.1")) != 200:
            pass


async def test_who_takes_too_long_to_ask_or_to_take_the_answer_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same server in this process, and less patience."""
    monkeypatch.setattr(server, "ASK_SECONDS", 0.2)
    monkeypatch.setattr(server, "ANSWER_SECONDS", 0.2)

    async def document() -> bytes:
        return b"x" * 50_000_000  # more than the kernel keeps for who does not read

    places = server.Places()
    listening = await server.listen("127.0.0.1", 0, places, document)
    port = listening.sockets[0].getsockname()[1]
    slow, deaf = [await asyncio.open_connection("127.0.0.1", port, limit=1024) for _ in range(2)]
    slow[1].write(b"GET / HTTP/1.0\r\nX-Slow: ")
    deaf[1].write(b"GET / HTTP/1.0\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionError):
            assert await slow[0].read() == b""
        while places.taken:  # noqa: ASYNC110 - what is waited for is in the server's own hands
            await asyncio.sleep(0.01)
    for _, writer in (slow, deaf):
        writer.close()
    listening.close()


async def test_who_never_takes_the_answer_keeps_nobody_out(page: Page) -> None:
    deaf = []
    for i in range(MOST):
        one = socket.socket()
        one.bind((f"127.0.4.{i // MOST_EACH + 1}", 0))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        one.connect(("127.0.0.1", page.port))
        one.sendall(b"GET / HTTP/1.0\r\n\r\n")
        deaf.append(one)
    try:
        async with asyncio.timeout(ANSWER_SECONDS / 2):  # long before those are given up
            while status(await page.ask(source="127.0.5.1")) != 200:  # noqa: ASYNC110 - another process frees its places
                await asyncio.sleep(0.1)
        assert page.descriptors() < MOST + 24
    finally:
        for one in deaf:
            one.close()


async def test_a_burst_takes_no_more_descriptors_than_its_unit_allows(page: Page) -> None:
    """Those that are sent away go a moment later than they came; out of descriptors it would take nobody for a second,
    and say so in the journal at length."""
    unit = (Path(__file__).parents[3] / "systemd/galley-lan-page.service").read_text()
    limit = int(unit.partition("LimitNOFILE=")[2].split()[0])
    resource.prlimit(page.program.pid, resource.RLIMIT_NOFILE, (limit, limit))
    held = []
    for number in range(600):
        one = socket.socket()
        one.setblocking(False)
        one.bind((f"127.2.{number // 250}.{number % 250 + 1}", 0))
        with contextlib.suppress(BlockingIOError):
            one.connect(("127.0.0.1", page.port))
        held.append(one)
    await page.until(lambda got: status(got) == 200)
    for one in held:
        one.close()
    assert (page.folder / "page.log").read_text() == f"the page serves 127.0.0.1:{page.port}\n"


async def test_a_crowd_is_served_by_a_few_questions_to_the_commander(page: Page) -> None:
    began = page.commander.asked
    loop = asyncio.get_running_loop()
    start = loop.time()
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    crowd = min(300, soft // 4)

    async def one(number: int) -> int:
        return status(await page.ask(source=f"127.1.{number // 250}.{number % 250 + 1}"))

    got = [answer for i in range(0, crowd, 20) for answer in await asyncio.gather(*(one(i + j) for j in range(20)))]
    assert set(got) == {200}
    assert page.commander.asked - began <= 2 + (loop.time() - start) / 2


async def test_a_commander_that_hangs_is_said_and_hangs_nobody(page: Page) -> None:
    page.commander.silent = True
    got = await page.until(lambda got: b"does not answer" in got)
    assert b"wait for two minutes" in got
    page.commander.silent = False
    assert NODE.encode() in await page.until(lambda got: b"approval" in got)


async def test_it_follows_its_settings_and_never_ends_because_of_them(page: Page) -> None:
    first = page.port
    page.serve_at(second := free_port())
    await page.until(lambda got: status(got) == 200)
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", first)
    (page.folder / "galley.yaml").write_text("v: 1\nedge_commander: {colour: red}\n")
    got = await page.until(lambda got: b"edge_commander.colour" in got)
    assert page.port == second and b"stick labelled GALLEY" in got
    taken = socket.create_server(("127.0.0.1", 0))
    page.serve_at(taken.getsockname()[1])
    await _logged(page, "cannot be had yet")
    taken.close()
    await page.until(lambda got: status(got) == 200)
    page.serve_at(0)
    await _logged(page, "is turned off")
    assert page.program.running


async def test_an_address_that_is_none_is_said_and_ends_nothing(page: Page) -> None:
    port = page.port
    for bind in ("192.168..5", "a" * 64 + ".example"):
        page.serve_at(free_port(), bind=bind)
        page.port = port  # settings that are wrong are said where it served
        await page.until(lambda got: b"edge_commander.page.bind" in got)
    page.serve_at(free_port(), bind="nobody.invalid")
    await _logged(page, f"nobody.invalid:{page.port} cannot be had yet")
    assert page.program.running
    page.serve_at(free_port())
    assert status(await page.until(lambda got: status(got) == 200)) == 200


async def _logged(page: Page, text: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while text not in (page.folder / "page.log").read_text():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.1)


async def test_at_rest_it_is_small_and_says_nothing_of_those_who_come(page: Page) -> None:
    for _ in range(5):
        await page.ask(b"GET /nowhere HTTP/1.0\r\nX-Secret: hunter2\r\n\r\n")
    assert (page.folder / "page.log").read_text() == f"the page serves 127.0.0.1:{page.port}\n"
    assert page.memory() < 32_000_000
    print(f"PSS {page.memory() / 1e6:.1f} MB")
