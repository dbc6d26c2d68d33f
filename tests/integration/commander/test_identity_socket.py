"""The identity socket with real uids: who is who by SO_PEERCRED, what each may ask, and what no one can break."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edge_commander.access import CONSOLE
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.process import Program

SITE = "store-02345"
NOBODY, VESSEL, HEARTBEAT, SYNTHETIC = 65534, 770, 771, 772
ASK = """
import http.client, json, os, socket, sys
path, route, uid = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
connection = http.client.HTTPConnection("identity", timeout=15)
connection.sock = socket.socket(socket.AF_UNIX)
try:
    connection.sock.connect(path)
except PermissionError:
    print(json.dumps([0, "permission denied"])); sys.exit()
connection.request("GET", route)
answer = connection.getresponse()
print(json.dumps([answer.status, json.loads(answer.read() or b"null")]))
"""


@pytest.fixture(autouse=True)
def root(capsys: pytest.CaptureFixture[str]) -> None:
    """Only root can become the daemons' uids; for others the summary tells what was not run."""
    if os.getuid() != 0:
        with capsys.disabled():
            print("\nnot run: the identity socket with the daemons' own uids (needs root)", flush=True)
        pytest.skip("needs root")


async def ask_as(uid: int, path: Path, route: str) -> tuple[int, Any]:
    """One request by a process of that uid."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-I", "-S", "-c", ASK, str(path), route, str(uid)],
        capture_output=True, text=True, timeout=30, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    status, body = json.loads(done.stdout)
    return status, body


@pytest.fixture
async def commander(
    tmp_path: Path, endpoint: Endpoint, operator: EndpointClient, commanders: Callable[..., Any]
) -> Any:
    """An enrolled commander whose run directory every uid can reach."""
    await operator.put_site(SITE)
    name = f"kitchen-{abs(hash(tmp_path.name)) % 100000}"
    hardware_id = f"NUC-{tmp_path.name}"
    code = await operator.ship(hardware_id, SITE, name)
    commander = commanders(tmp_path, endpoint, hardware_id)
    (tmp_path / "code").write_text(code)
    for parent in (tmp_path, *tmp_path.parents):
        if parent != Path("/tmp") and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    commander.start()
    commander.wait(lambda: commander.state == "forming")
    return commander


async def test_the_uid_is_the_role(commander: Any) -> None:
    main = commander.socket()
    assert main.stat().st_mode & 0o777 == 0o666 and main.parent.stat().st_mode & 0o777 == 0o755
    scopes = {VESSEL: "deploy:report", HEARTBEAT: "heartbeat:write", SYNTHETIC: "synthetic:write"}
    for uid, scope in scopes.items():
        status, body = await ask_as(uid, main, "/v1/token")
        assert (status, body.get("scope")) == (200, scope)
    for uid in (NOBODY, 0):
        status, body = await ask_as(uid, main, "/v1/token")
        assert status == 403 and "access_token" not in body
    assert (await ask_as(0, main, "/v1/status"))[0] == 200
    assert (await ask_as(NOBODY, main, "/v1/status"))[0] == 403
    assert (await ask_as(HEARTBEAT, main, "/v1/git-credential"))[0] == 403
    assert (await ask_as(CONSOLE, main, "/v1/status"))[0] == 200
    assert (await ask_as(CONSOLE, main, "/v1/token"))[0] == 403
    assert (await ask_as(VESSEL, main, "/v1/git-credential"))[0] != 403
    assert (await ask_as(VESSEL, main, "/v1/site"))[1]["site"] == SITE
    audited = [json.loads(line) for line in commander.program.log.read_text().splitlines() if '"denied"' in line]
    assert {line["uid"] for line in audited} == {NOBODY, 0, HEARTBEAT, CONSOLE} and all(
        line["audit"] for line in audited
    )


async def test_a_roles_own_socket_is_its_owners_alone(commander: Any) -> None:
    own = commander.socket("vessel")
    assert own.stat().st_mode & 0o777 == 0o600
    assert await ask_as(VESSEL, own, "/v1/token") == (0, "permission denied")
    assert (await commander.ask("/v1/token", "vessel"))[1]["scope"] == "deploy:report"
    own.chmod(0o666)  # even then
    assert (await ask_as(HEARTBEAT, own, "/v1/token"))[0] == 403


async def test_a_crowd_makes_one_request_to_the_endpoint(commander: Any, operator: EndpointClient) -> None:
    answers = await asyncio.gather(*(commander.ask("/v1/token", "synthetic") for _ in range(40)))
    assert {status for status, _ in answers} == {200}
    assert len({body["access_token"] for _, body in answers}) == 1


async def test_a_removed_socket_comes_back(commander: Any) -> None:
    commander.socket("vessel").unlink()
    commander.wait(lambda: commander.socket("vessel").is_socket())
    assert (await commander.ask("/v1/token", "vessel"))[0] == 200


async def test_a_stale_socket_is_replaced_and_gone_after_the_end(commander: Any) -> None:
    commander.program.kill()
    assert commander.socket().is_socket()
    commander.start()
    assert (await commander.ask("/v1/site"))[0] == 200
    commander.program.stop()
    assert not list(commander.run_dir.glob("identity*"))


async def test_a_second_commander_on_the_same_identity_ends(commander: Any) -> None:
    second = Program(
        "second", commander.program.command, log=commander.folder / "second.log", env=commander.program.env
    )
    second.start()
    try:
        commander.wait(lambda: not second.running)
        assert second.returncode == 1 and "another edge-commander" in second.log.read_text()
    finally:
        second.stop()
    assert (await commander.ask("/v1/site"))[0] == 200  # its sockets were not taken away


async def test_rude_clients_do_not_matter(commander: Any) -> None:
    path = str(commander.socket("heartbeat"))
    crowd = []
    for n in range(80):  # more than one uid may hold
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(5)
        client.connect(path)
        crowd.append(client)
        if n % 2:
            with contextlib.suppress(OSError):  # a client too many is closed at once, perhaps before it wrote
                client.sendall(b"GET /v1/token HT")  # and never ends its request
    try:
        refused: set[int] = set()
        for _ in range(80):
            refused |= {n for n, client in enumerate(crowd) if n not in refused and _closed(client)}
            if len(refused) >= 16:
                break
            await asyncio.sleep(0.1)
        assert len(refused) >= 16
    finally:
        for client in crowd:
            client.close()
    assert await _answers(commander)
    for request in (
        b"GET /v1/token HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00\x01\x02rubbish\r\n\r\n",
        b"POST /v1/token HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /v1/token/../../etc HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        answer = await asyncio.to_thread(_raw, path, request)
        assert answer.split(b" ")[1][:1] == b"4", (request[:40], answer[:80])
    assert (await commander.ask("/v1/token", "heartbeat"))[0] == 200
    assert commander.program.running


async def _answers(commander: Any) -> bool:
    """Whether it answers again, once it saw that the crowd has gone."""
    for _ in range(50):
        with contextlib.suppress(aiohttp.ClientError, OSError):
            if (await commander.ask("/v1/token", "heartbeat"))[0] == 200:
                return True
        await asyncio.sleep(0.1)
    return False


def _closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _raw(path: str, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(path)
        with contextlib.suppress(OSError):  # it may answer and close before it has read all
            client.sendall(request)
        return client.recv(65536)
