"""Messages at the real endpoint: replayed, reordered, oversized, malformed, on a foreign stream; gaps; dead letters."""

from __future__ import annotations

import asyncio
import gzip
import json
import secrets
import time
from pathlib import Path
from typing import Any

import pytest

from agents.contracts.ingest import MAX_BODY_BYTES, MAX_MESSAGES
from agents.core.jose import SoftwareKey
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient

BEAT = {"kind": "beat", "boot": "01234567", "up": 5, "ok": 1}
SCOPE = {"heartbeat": "heartbeat:write", "vessel": "deploy:report", "synthetic": "synthetic:write"}
SCOPE["commander"] = "command:read"


def deployment(app: str = "pos", revision: str = "a" * 40, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "deployment",
        "app": app,
        "owner": "team",
        "revision": revision,
        "phase": "healthy",
        "counts": {},
        "problems": [],
        "durations": {},
        **changes,
    }


def envelope(seq: int, body: Any = None, t: int = 1) -> dict[str, Any]:
    return {"seq": seq, "t": t, "m": BEAT if body is None else body}


async def send(
    device: EndpointClient, run: str, messages: list[Any], *, stream: str = "heartbeat", ok: bool = True, **more: Any
) -> Any:
    body = {"v": 1, "stream": stream, "run": run, "messages": messages, **more}
    return await device.call("POST", "/v1/ingest", body, scope=SCOPE[stream], ok=ok)


@pytest.fixture
def run() -> str:
    return secrets.token_hex(8)


async def beats(operator: EndpointClient, site: str) -> list[Any]:
    return await operator.call("GET", f"/v1/fleet/sites/{site}/history?kind=beat&limit=1000")


async def test_replayed_and_reordered_messages_count_once(
    device: EndpointClient, operator: EndpointClient, site: str, run: str
) -> None:
    first = await send(device, run, [envelope(5), envelope(4)])
    assert (first["ack"], first["have"]) == (0, [[4, 5]])
    second = await send(device, run, [envelope(1), envelope(2), envelope(2), envelope(5)])
    assert (second["ack"], second["have"]) == (2, [[4, 5]])
    third = await send(device, run, [envelope(3), envelope(4)])
    assert (third["ack"], third["have"], third["rejected"]) == (5, [], [])
    assert len(await beats(operator, site)) == 5
    again = await send(device, run, [envelope(seq) for seq in (5, 4, 3, 2, 1)])
    assert again["ack"] == 5
    assert len(await beats(operator, site)) == 5
    assert abs(again["server_time"] - time.time() * 1000) < 60_000


async def test_the_latest_is_the_newest_not_the_last_to_arrive(
    device: EndpointClient, operator: EndpointClient, site: str, run: str
) -> None:
    await send(device, run, [envelope(9, {**BEAT, "up": 900})])
    await send(device, run, [envelope(3, {**BEAT, "up": 300})])
    await send(device, run, [envelope(2, deployment(revision="b" * 40), t=20)], stream="vessel")
    await send(device, run, [envelope(1, deployment(revision="a" * 40), t=10)], stream="vessel")
    view = await operator.call("GET", f"/v1/fleet/sites/{site}")
    assert view["nodes"][0]["beat"]["up"] == 900
    assert view["deployments"][0]["body"]["revision"] == "b" * 40
    history = await operator.call("GET", f"/v1/fleet/sites/{site}/history?kind=deployment&key=pos")
    assert len(history) == 2


async def test_a_bad_message_is_set_aside_and_blocks_nothing(
    device: EndpointClient, operator: EndpointClient, run: str
) -> None:
    bad = [
        {"kind": "beat"},
        {"kind": "nonsense"},
        "text",
        None,
        [],
        {**BEAT, "up": -1},
        {**BEAT, "boot": "<script>"},
        deployment(),
    ]
    messages = [envelope(index + 1, body) for index, body in enumerate(bad)]
    messages[3]["m"] = None
    messages.append(envelope(len(bad) + 1))
    answer = await send(device, run, messages)
    assert answer["ack"] == len(bad) + 1
    assert [one["seq"] for one in answer["rejected"]] == list(range(1, len(bad) + 1))
    assert "boot" in answer["rejected"][0]["problem"]
    assert "does not belong on stream" in answer["rejected"][7]["problem"]
    seen = await operator.call("GET", f"/v1/fleet/nodes/{device.name}/streams")
    assert len(seen["dead_letters"]) == len(bad)
    assert seen["streams"][0]["rejected"] == len(bad)
    alerts = await operator.call("GET", "/v1/fleet/alerts")
    assert any(one["node"] == device.name and one["code"] == "rejected-heartbeat" for one in alerts)


async def test_an_oversized_message_is_set_aside_alone(device: EndpointClient, run: str) -> None:
    huge = {"kind": "alert", "code": "x", "severity": "info", "text": "x" * MAX_BODY_BYTES}
    answer = await send(device, run, [envelope(1, huge), envelope(2)])
    assert (answer["ack"], [one["seq"] for one in answer["rejected"]]) == (2, [1])
    assert str(MAX_BODY_BYTES) in answer["rejected"][0]["problem"]


async def test_what_was_dropped_by_policy_is_settled_and_recorded(
    device: EndpointClient, operator: EndpointClient, run: str
) -> None:
    await send(device, run, [envelope(3)])
    answer = await send(device, run, [envelope(7)], dropped=[[1, 5, "beat"]])
    assert (answer["ack"], answer["have"]) == (5, [[7, 7]])
    only = await send(device, run, [], dropped=[[6, 6, "mixed"]])
    assert only["ack"] == 7
    seen = await operator.call("GET", f"/v1/fleet/nodes/{device.name}/streams")
    assert [(gap["first"], gap["last"]) for gap in seen["gaps"]] == [(6, 6), (4, 5), (1, 2)]
    assert seen["streams"][0]["dropped"] == 5


MALFORMED = {
    "not JSON": (b"{", 400, "truncated"),
    "not UTF-8": (b'{"stream": "\xff"}', 400, ""),
    "a list": (b"[]", 400, "object"),
    "no stream": (b'{"v":1,"run":"0000000000000000","messages":[]}', 400, "`stream`"),
    "unknown stream": (b'{"v":1,"stream":"x","run":"0000000000000000"}', 400, "$.stream"),
    "unknown version": (b'{"v":2,"stream":"heartbeat","run":"0000000000000000"}', 400, "$.v"),
    "bad run": (b'{"v":1,"stream":"heartbeat","run":"<b>"}', 400, "$.run"),
    "seq 0": (
        b'{"v":1,"stream":"heartbeat","run":"0000000000000000","messages":[{"seq":0,"t":1,"m":{}}]}',
        400,
        "$.messages[0].seq",
    ),
    "seq too large": (
        b'{"v":1,"stream":"heartbeat","run":"0000000000000000","messages":[{"seq":9007199254740992,"t":1,"m":{}}]}',
        400,
        "$.messages[0].seq",
    ),
    "range backwards": (
        b'{"v":1,"stream":"heartbeat","run":"0000000000000000","dropped":[[5,1,"beat"]]}',
        400,
        "$.dropped[0]",
    ),
    "too many messages": (
        b'{"v":1,"stream":"heartbeat","run":"0000000000000000","messages":['
        + b",".join(b'{"seq":%d,"t":1,"m":{}}' % n for n in range(1, MAX_MESSAGES + 2))
        + b"]}",
        400,
        "$.messages",
    ),
    "nested too deep": (b'{"v":1,"stream":"heartbeat","x":' + b"[" * 100_000 + b"}", 400, ""),
    "five megabytes": (b" " * (5 * 1024 * 1024), 413, "larger than"),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_request_is_refused_with_its_path(device: EndpointClient, name: str) -> None:
    body, expected, cause = MALFORMED[name]
    token = await device.login("heartbeat:write")
    kind = {"Content-Type": "application/json"}
    status, answer = await device.request("POST", "/v1/ingest", token=token, data=body, headers=kind)
    assert status == expected, answer
    assert cause in answer["detail"]
    assert set(answer) >= {"type", "title", "status", "detail"}


async def test_a_compressed_bomb_is_refused_and_good_gzip_is_read(device: EndpointClient, run: str) -> None:
    token = await device.login("heartbeat:write")
    kind = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    bomb = gzip.compress(b" " * 50_000_000)
    status, _ = await device.request("POST", "/v1/ingest", token=token, data=bomb, headers=kind)
    assert status in (400, 413)
    good = json.dumps({"v": 1, "stream": "heartbeat", "run": run, "messages": [envelope(1)]}).encode()
    status, answer = await device.request("POST", "/v1/ingest", token=token, data=gzip.compress(good), headers=kind)
    assert (status, answer["ack"]) == (200, 1)
    status, _ = await device.request("POST", "/v1/ingest", token=token, data=b"no gzip", headers=kind)
    assert status == 400


async def test_another_content_type_is_refused(device: EndpointClient) -> None:
    token = await device.login("heartbeat:write")
    assert (await device.request("POST", "/v1/ingest", token=token, data=b"{}"))[0] == 415


async def test_a_stream_needs_its_own_scope(device: EndpointClient, run: str) -> None:
    for stream, own in SCOPE.items():
        body = {"v": 1, "stream": stream, "run": run, "messages": []}
        for scope in SCOPE.values():
            status, answer = await device.call("POST", "/v1/ingest", body, scope=scope, ok=False)
            assert status == (200 if scope == own else 403), answer


async def test_streams_of_two_nodes_never_mix(
    endpoint: Endpoint, operator: EndpointClient, device: EndpointClient, site: str, run: str
) -> None:
    code = await operator.ship(f"second-{run}", site, "node-2")
    async with endpoint.client("", SoftwareKey.generate()) as other:
        await other.enrol(f"second-{run}", code)
        assert (await send(device, run, [envelope(1), envelope(2)]))["ack"] == 2
        assert (await send(other, run, [envelope(2)]))["have"] == [[2, 2]]
    assert len(await beats(operator, site)) == 3


async def test_a_token_of_another_site_writes_nothing(
    endpoint: Endpoint, device: EndpointClient, operator: EndpointClient, site: str, run: str
) -> None:
    """The device is moved: its tokens for the old site end, and it writes only at the new one."""
    token = await device.login("heartbeat:write")
    new_site = f"{site}-new"
    await operator.put_site(new_site)
    devices = await operator.call("GET", f"/v1/admin/devices?site={site}")
    hardware = devices[0]["hardware_id"]
    move = {"hardware_id": hardware, "site": new_site, "name": "node-1", "proof": "code"}
    status, answer = await operator.call("POST", "/v1/admin/shipping", move, ok=False)
    assert (status, "revoke it first" in answer["detail"]) == (409, True)
    await operator.call("POST", f"/v1/admin/devices/{device.name}/revoke")
    shipped = await operator.call("POST", "/v1/admin/shipping", move)
    assert (await device.enrol(hardware, shipped["code"]))[1]["site"] == new_site
    body = {"v": 1, "stream": "heartbeat", "run": run, "messages": [envelope(1)]}
    status, _ = await device.request("POST", "/v1/ingest", token=token, json=body)
    assert status == 401
    fresh = await device.login("heartbeat:write")
    assert (await device.request("POST", "/v1/ingest", token=fresh, json=body))[0] == 200
    assert await beats(operator, site) == []
    assert len(await beats(operator, new_site)) == 1


async def test_every_write_in_many_connections_at_once_is_acknowledged_once(
    device: EndpointClient, operator: EndpointClient, site: str, run: str
) -> None:
    await device.login("heartbeat:write")
    answers = await asyncio.gather(
        *(send(device, run, [envelope(n) for n in range(first, first + 20)]) for first in (1, 11, 21, 31, 41))
    )
    assert max(answer["ack"] for answer in answers) == 60
    assert len(await beats(operator, site)) == 60


async def test_too_many_pieces_of_a_run_are_refused_whole(
    device: EndpointClient, operator: EndpointClient, run: str
) -> None:
    for start in (1, 2001):
        await send(device, run, [envelope(n) for n in range(start, start + 1998, 2)])
    status, answer = await send(device, run, [envelope(n) for n in range(9001, 9999, 2)], ok=False)
    assert status == 409
    assert "pieces" in answer["detail"]
    seen = await operator.call("GET", f"/v1/fleet/nodes/{device.name}/streams")
    assert seen["streams"][0]["have"][-1][1] < 9001


async def test_dropped_ranges_are_charged_as_messages_are(tmp_path: Path, run: str) -> None:
    own = Endpoint(tmp_path / "endpoint", limits={"message_rate": 0.001, "message_burst": 1000})
    await asyncio.to_thread(own.start)
    try:
        async with own.operator() as operator, own.client("", SoftwareKey.generate()) as device:
            await operator.put_site("store-1")
            await device.enrol("hw", await operator.ship("hw", "store-1", "node-1"))
            spread = [[n, n, "beat"] for n in range(2, 802, 2)]
            assert len((await send(device, run, [], dropped=spread))["have"]) == 400
            assert (await send(device, run, [envelope(1)], dropped=spread))["ack"] == 2
            status, _ = await send(device, run, [], dropped=spread, ok=False)
            assert status == 429
            assert (await send(device, run, [envelope(3)]))["ack"] == 4
    finally:
        await asyncio.to_thread(own.stop)
