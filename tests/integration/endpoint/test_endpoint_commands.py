"""Commands at the real endpoint: signed ones are queued and fetched, all others refused and audited."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Any

import pytest

from agents.contracts.codec import decode, encode
from agents.contracts.command import Command, SignedCommand, Verb
from agents.core.command_verify import CommandKeys, sign_command, verify_command
from agents.core.jose import SoftwareKey, decode64, encode64, thumbprint
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient


@pytest.fixture
async def ready(device: EndpointClient) -> EndpointClient:
    """A device that published a challenge."""
    await publish(device)
    return device


async def publish(device: EndpointClient) -> str:
    challenge = secrets.token_urlsafe(16)
    body = {"kind": "challenge", "challenge": challenge, "expires": int(time.time()) + 3600}
    message = {"seq": 1, "t": int(time.time() * 1000), "m": body}
    ingest = {"v": 1, "stream": "commander", "run": secrets.token_hex(8), "messages": [message]}
    answer = await device.call("POST", "/v1/ingest", ingest, scope="command:read")
    assert answer["rejected"] == []
    return challenge


async def unsigned(operator: EndpointClient, name: str, /, **changes: Any) -> Command:
    following = await operator.call("GET", f"/v1/nodes/{name}/next-command")
    now = int(time.time())
    values = {
        "id": secrets.token_hex(16),
        "verb": Verb.WIPE,
        "site": following["site"],
        "node": name,
        "sequence": following["sequence"],
        "challenge": following["challenge"],
        "issued": now,
        "expires": now + 600,
        "targets": ["var"],
    }
    return Command(**{**values, **changes})


def as_json(signed: SignedCommand) -> Any:
    return json.loads(encode(signed))


async def test_an_operators_command_reaches_the_node_that_waits_and_its_answer_comes_back(
    endpoint: Endpoint, operator: EndpointClient, ready: EndpointClient
) -> None:
    key = endpoint.key(endpoint.command_key_file)
    await ready.login("command:read")
    waiting = asyncio.create_task(ready.call("GET", "/v1/commands?after=0&wait=20", scope="command:read"))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    command = await unsigned(operator, ready.name)
    sent = await operator.call("POST", f"/v1/nodes/{ready.name}/commands", as_json(sign_command(command, [key])))
    assert (sent["verb"], sent["sequence"], sent["outcome"]) == ("wipe", 1, None)
    got = await asyncio.wait_for(waiting, 5)
    verified = verify_command(
        SignedCommand(**{**got["commands"][0], "signatures": sign_command(command, [key]).signatures}),
        CommandKeys(operators={thumbprint(key.public): key.public}),
        site=command.site,
        node=ready.name,
        now=int(time.time()),
        after=0,
        challenges=frozenset({command.challenge}),
    )
    assert verified == command
    result = {"kind": "command-result", "command_id": command.id, "verb": "wipe", "outcome": "done", "detail": "ok"}
    message = {"seq": 1, "t": 1, "m": result}
    ingest = {"v": 1, "stream": "commander", "run": secrets.token_hex(8), "messages": [message]}
    assert (await ready.call("POST", "/v1/ingest", ingest, scope="command:read"))["commands_after"] == 0
    assert (await ready.call("GET", "/v1/commands?after=0", scope="command:read"))["commands"] == []
    listed = await operator.call("GET", f"/v1/nodes/{ready.name}/commands")
    assert [(one["outcome"], one["detail"]) for one in listed] == [("done", "ok")]


async def test_an_ingest_answer_tells_of_a_waiting_command(operator: EndpointClient, ready: EndpointClient) -> None:
    await operator.call("POST", f"/v1/nodes/{ready.name}/requests", {"verb": "sync"})
    ingest = {"v": 1, "stream": "heartbeat", "run": secrets.token_hex(8), "messages": []}
    assert (await ready.call("POST", "/v1/ingest", ingest, scope="heartbeat:write"))["commands_after"] == 1
    document = await ready.call("GET", "/v1/site", scope="command:read")
    got = (await ready.call("GET", "/v1/commands?after=0", scope="command:read"))["commands"][0]
    keys = CommandKeys(endpoint={thumbprint(key): key for key in document["command_keys"]})

    command = verify_command(
        decode(json.dumps(got), SignedCommand),
        keys,
        site=document["site"],
        node=ready.name,
        now=int(time.time()),
        after=0,
        challenges=None,
    )
    assert command.verb is Verb.SYNC


async def test_one_challenge_serves_one_command(operator: EndpointClient, ready: EndpointClient) -> None:
    path = f"/v1/nodes/{ready.name}/requests"
    await operator.call("POST", path, {"verb": "sync"})
    status, body = await operator.call("POST", path, {"verb": "sync"}, ok=False)
    assert (status, body["detail"][:10]) == (422, "challenge:")
    await publish(ready)
    assert (await operator.call("POST", path, {"verb": "snapshot"}))["sequence"] == 2


@pytest.mark.parametrize("verb", ["wipe", "retire", "rejoin", "upgrade", "rotate"])
async def test_the_endpoint_never_signs_an_operators_verb(
    operator: EndpointClient, ready: EndpointClient, verb: str
) -> None:
    status, body = await operator.call("POST", f"/v1/nodes/{ready.name}/requests", {"verb": verb}, ok=False)
    assert (status, "operator's signature" in body["detail"]) == (403, True)
    assert await operator.call("GET", f"/v1/nodes/{ready.name}/commands") == []


def _tampered(signed: SignedCommand) -> Any:
    body = as_json(signed)
    payload = json.loads(decode64(body["payload"]))
    payload["verb"] = "retire"
    return {**body, "payload": encode64(json.dumps(payload).encode())}


STRANGER = SoftwareKey.generate("Ed25519")
REFUSED: dict[str, tuple[dict[str, int | str], str]] = {
    "another node": ({"node": "n-aaaaaaaaaaaaaaaa"}, "node"),
    "another site": ({"site": "store-elsewhere"}, "site"),
    "expired": ({"issued": -900, "expires": -600}, "expired"),
    "valid for a year": ({"expires": 31_536_000}, "expires"),
    "from the future": ({"issued": 600, "expires": 900}, "issued"),
    "another challenge": ({"challenge": "A" * 22}, "challenge"),
}
"""What is changed in a good command (numbers: seconds from when it is sent), and the word it is refused with."""


@pytest.mark.parametrize("name", REFUSED)
async def test_a_wrong_command_is_refused_and_audited(
    endpoint: Endpoint, operator: EndpointClient, ready: EndpointClient, name: str
) -> None:
    said, code = REFUSED[name]
    changes = {key: int(time.time()) + value if isinstance(value, int) else value for key, value in said.items()}
    command = await unsigned(operator, ready.name, **changes)
    body = as_json(sign_command(command, [endpoint.key(endpoint.command_key_file)]))
    await refused(operator, ready.name, body, 422, code)


async def test_wrongly_signed_unsigned_and_unknown_commands_are_refused_and_audited(
    endpoint: Endpoint, operator: EndpointClient, ready: EndpointClient
) -> None:
    key = endpoint.key(endpoint.command_key_file)
    command = await unsigned(operator, ready.name)
    good = sign_command(command, [key])
    unknown = json.loads(encode(command)) | {"verb": "format"}
    head = good.signatures[0].protected
    payload = encode64(json.dumps(unknown).encode())
    signature = encode64(key.sign(f"{head}.{payload}".encode()))
    await refused(operator, ready.name, as_json(sign_command(command, [STRANGER])), 422, "signature")
    await refused(operator, ready.name, as_json(sign_command(command, [key, STRANGER])), 422, "signature")
    login = endpoint.key(endpoint.operator_key_file)
    await refused(operator, ready.name, as_json(sign_command(command, [login])), 422, "signature")
    await refused(operator, ready.name, _tampered(good), 422, "signature")
    await refused(
        operator,
        ready.name,
        {"payload": payload, "signatures": [{"protected": head, "signature": signature}]},
        422,
        "verb",
    )
    await refused(operator, ready.name, {"payload": good.payload, "signatures": []}, 400, "not-signed")
    await refused(operator, ready.name, json.loads(encode(command)), 400, "not-signed")
    await refused(operator, ready.name, {"verb": "wipe"}, 400, "not-signed")
    await refused(operator, ready.name, "wipe", 400, "not-signed")
    assert await operator.call("GET", f"/v1/nodes/{ready.name}/commands") == []
    assert (await ready.call("GET", "/v1/commands", scope="command:read"))["commands"] == []


async def test_a_command_is_taken_once(endpoint: Endpoint, operator: EndpointClient, ready: EndpointClient) -> None:
    body = as_json(sign_command(await unsigned(operator, ready.name), [endpoint.key(endpoint.command_key_file)]))
    await operator.call("POST", f"/v1/nodes/{ready.name}/commands", body)
    await publish(ready)
    await refused(operator, ready.name, body, 422, "sequence")


async def refused(operator: EndpointClient, node: str, body: Any, expected: int, code: str) -> None:
    status, answer = await operator.call("POST", f"/v1/nodes/{node}/commands", body, ok=False)
    assert status == expected, answer
    line = (await operator.call("GET", "/v1/admin/audit?limit=1"))[0]
    assert (line["actor"], line["action"], line["target"], line["outcome"]) == ("op:demo", "command", node, "refused")
    assert line["detail"].startswith(f"{code}:"), line
