"""The endpoint is stolen, with its keys and its whole store: what it cannot make a node do, command by command.

Each command of one table is shown twice: to the honest endpoint's door, and, past all of its checks, to the node.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from agents.contracts.codec import encode
from agents.contracts.command import Command, SignedCommand, Verb
from agents.contracts.trust import OperatorKey, OperatorsDocument
from agents.core.command_verify import sign_command
from agents.core.jose import SoftwareKey, decode64, encode64
from agents.core.operators import sign_operators
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.stolen_endpoint import plant

SITE, OTHER = "store-04711", "store-04712"
ALICE, BOB, CAROL, STRANGER = (SoftwareKey.generate("Ed25519") for _ in range(4))
DAY = 86_400


class Case(NamedTuple):
    """`signers`: by name. `changed`: fields of the command. `door`, `node`: the codes with which each refuses it; None:
    the endpoint cannot know. `sequence`: an older one than it should be."""

    signers: str
    changed: dict[str, Any]
    door: str | None
    node: str
    sequence: int | None = None


WIPE = {"verb": Verb.WIPE, "targets": ["var"]}
RETIRE = {"verb": Verb.RETIRE, "targets": ["ident", "var"]}
TAMPERED = {**WIPE, "tampered": {"targets": ["var", "keep"]}}
RELEASE = {"version": "1.4.0", "sha256": "0a" * 32, "address": "https://images.example/1.4.0"}
UPGRADE = {"verb": Verb.UPGRADE, "args": RELEASE}
UPGRADE_TO_LATEST = {"verb": Verb.UPGRADE, "args": {**RELEASE, "version": "latest"}}
CASES: dict[str, Case] = {
    "wipe by the endpoint": Case("thief", WIPE, "signature", "signature"),
    "retire by the endpoint": Case("thief", RETIRE, "signature", "signature"),
    "rejoin by the endpoint": Case("thief", {"verb": Verb.REJOIN}, "signature", "signature"),
    "upgrade by the endpoint": Case("thief", UPGRADE, "signature", "signature"),
    "rotate by the endpoint": Case("thief", {"verb": Verb.ROTATE}, "signature", "signature"),
    "wipe by a stranger": Case("stranger", WIPE, "signature", "signature"),
    "wipe by an operator and a stranger": Case("alice stranger", WIPE, "signature", "signature"),
    "wipe by a retired key": Case("carol", WIPE, "signature", "signature"),
    "wipe, changed after it was signed": Case("alice", TAMPERED, "signature", "signature"),
    "retire by one operator": Case("alice", RETIRE, "threshold", "threshold"),
    "retire by one operator twice": Case("alice alice", RETIRE, "threshold", "threshold"),
    "retire by one operator and the endpoint": Case("alice thief", RETIRE, "threshold", "threshold"),
    "wipe of keep by one operator": Case("alice", {**WIPE, "targets": ["var", "keep"]}, "threshold", "threshold"),
    "rebuild by one operator": Case("alice", {**WIPE, "args": {"rebuild": "yes"}}, "threshold", "threshold"),
    "old": Case("alice", WIPE, "sequence", "sequence", sequence=1),
    "for another node": Case("alice", {**WIPE, "node": "n-" + "a" * 16}, "node", "node"),
    "for another site": Case("alice", {**WIPE, "site": OTHER}, "site", "site"),
    "expired": Case("alice", {**WIPE, "issued": -700, "expires": -100}, "expired", "expired"),
    "valid for a year": Case("alice", {**WIPE, "expires": 365 * DAY}, "expires", "expires"),
    "from the future": Case("alice", {**WIPE, "issued": 3600, "expires": 7200}, "issued", "issued"),
    "another challenge": Case("alice", {**WIPE, "challenge": "A" * 22}, "challenge", "challenge"),
    "unknown verb": Case("alice", {**WIPE, "raw": {"verb": "format"}}, "verb", "verb"),
    "unknown field": Case("alice", {**WIPE, "raw": {"force": True}}, "payload", "payload"),
    "device path": Case("alice", {**WIPE, "targets": ["/dev/nvme0n1p7"]}, "target", "target"),
    "device path behind a name": Case("alice", {**WIPE, "targets": ["var", "../sda"]}, "target", "target"),
    "wipe of the identity": Case("alice bob", {**WIPE, "targets": ["ident"]}, "target", "target"),
    "wipe of nothing": Case("alice", {"verb": Verb.WIPE}, "target", "target"),
    "retire that keeps the identity": Case("alice bob", {**RETIRE, "targets": ["var"]}, "target", "target"),
    "reboot with a target": Case("thief", {"verb": Verb.REBOOT, "targets": ["var"]}, "target", "target"),
    "unknown arg": Case("alice", {**WIPE, "args": {"force": "yes"}}, "args", "args"),
    "arg of another verb": Case("alice", {**WIPE, "args": {"version": "1.36.3"}}, "args", "args"),
    "value that the arg does not take": Case("alice", UPGRADE_TO_LATEST, "args", "args"),
    "upgrade that does not say to what": Case("alice", {**UPGRADE, "args": {"version": "1.4.0"}}, "args", "args"),
    "rejoin of a node that is no member yet": Case("alice", {"verb": Verb.REJOIN}, None, "state"),
    "snapshot of a node that is no member yet": Case("thief", {"verb": Verb.SNAPSHOT}, None, "state"),
}  # fmt: skip


class Made(NamedTuple):
    """A case as it is sent. `id`: that of its payload."""

    sequence: int
    id: str
    verb: str
    body: bytes


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The endpoint that is stolen; one operator's word is enough for the wipes of one site a day."""
    endpoint = Endpoint(tmp_path_factory.mktemp("town"), blast_radius=1)
    endpoint.start()
    yield endpoint
    endpoint.stop()


def document() -> Any:
    keys = [
        OperatorKey(name="alice", key=ALICE.public),
        OperatorKey(name="bob", key=BOB.public),
        OperatorKey(name="carol", key=CAROL.public, retired=1),
    ]
    return msgspec.to_builtins(sign_operators(OperatorsDocument(generation=1, keys=keys, threshold=2), [ALICE]))


def build(case: Case, ready: dict[str, Any], sequence: int, thief: SoftwareKey) -> Made:
    keys = {"thief": thief, "alice": ALICE, "bob": BOB, "carol": CAROL, "stranger": STRANGER}
    now = int(time.time())
    changed = dict(case.changed)
    raw, tampered = changed.pop("raw", {}), changed.pop("tampered", {})
    for name in ("issued", "expires"):
        changed[name] = now + changed.get(name, {"issued": 0, "expires": 3000}[name])
    fields = {
        "id": secrets.token_hex(16), "site": SITE, "node": ready["node"], "challenge": ready["challenge"],
        "sequence": case.sequence or sequence,
    }  # fmt: skip
    command = Command(**{**fields, **changed})
    signers = [keys[name] for name in case.signers.split()]
    signed = sign_command(command, signers)
    if raw:  # what the types would not let anybody make, properly signed
        payload = encode64(msgspec.json.encode(json.loads(encode(command)) | raw))
        ones = []
        for one, key in zip(signed.signatures, signers, strict=True):
            value = encode64(key.sign(f"{one.protected}.{payload}".encode()))
            ones.append(msgspec.structs.replace(one, signature=value))
        signed = SignedCommand(payload=payload, signatures=ones)
    if tampered:
        payload = json.loads(decode64(signed.payload)) | tampered
        signed = SignedCommand(payload=encode64(msgspec.json.encode(payload)), signatures=signed.signatures)
    return Made(sequence, command.id, str(raw.get("verb", command.verb.value)), encode(signed))


async def until(what: Callable[[], Awaitable[Any]], seconds: float = 60.0) -> Any:
    for _ in range(round(seconds / 0.1)):
        if found := await what():
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("it did not come so")


async def next_command(operator: EndpointClient, node: str) -> dict[str, Any]:
    """What the next command must carry, once the node's challenge is there."""

    async def published() -> Any:
        found = await operator.call("GET", f"/v1/nodes/{node}/next-command")
        return found if found["challenge"] else None

    return dict(await until(published))


def audited(commander: Any) -> dict[str, tuple[str, str]]:
    """Lines of the node's audit: event and code, by the command's id."""
    lines = [json.loads(one) for one in commander.program.log.read_text().splitlines() if one.startswith("{")]
    return {one["id"]: (one["event"], one.get("code", "")) for one in lines if one.get("audit") and one.get("id")}


async def at_the_door(operator: EndpointClient, node: str, made: Made, code: str) -> None:
    """The honest endpoint refuses it, and its audit says so."""
    status, answer = await operator.call("POST", f"/v1/nodes/{node}/commands", json.loads(made.body), ok=False)
    assert (status, answer["detail"].split(":")[0]) == (422, code)
    line = (await operator.call("GET", "/v1/admin/audit?limit=1"))[0]
    assert (line["actor"], line["action"], line["target"], line["outcome"]) == ("op:demo", "command", node, "refused")
    assert line["detail"].startswith(f"{code}: ")


async def test_what_a_stolen_endpoint_cannot_make_a_node_do(
    tmp_path: Path, town: Endpoint, commanders: Callable[..., Any]
) -> None:
    async with town.operator() as operator:
        await operator.call("POST", "/v1/admin/operators-documents", document(), ok=False)
        await operator.put_site(SITE)
        code = await operator.ship("NUC-4711", SITE, "kitchen-1")
        file = tmp_path / "operators.json"
        file.write_text(json.dumps(document()))
        commander = commanders(tmp_path / "one", town, "NUC-4711", operators_file=str(file), trust="endpoint")
        (tmp_path / "one" / "code").write_text(code)
        commander.start()
        commander.wait(lambda: commander.state == "forming")
        node = commander.node
        state = town.folder / "state" / "galley-endpoint"
        thief = town.key(state / "command-key.json")

        # One honest command, which will be replayed.
        ready = await next_command(operator, node)
        first = build(Case("alice", {"verb": Verb.SYNC}, None, ""), ready, 1, thief)
        await operator.call("POST", f"/v1/nodes/{node}/commands", json.loads(first.body))
        commander.wait(lambda: json.loads((commander.ident / "commands.json").read_text())["value"]["consumed"] == 1)
        ready = await next_command(operator, node)
        wake = (commander.run_dir / "sync.json").read_bytes()
        await at_the_door(operator, node, first, "sequence")

        made = {name: build(case, ready, 10 + n, thief) for n, (name, case) in enumerate(CASES.items())}
        for name, case in CASES.items():
            if case.door is not None:
                await at_the_door(operator, node, made[name], case.door)
        listed = await operator.call("GET", f"/v1/nodes/{node}/commands")
        assert [one["sequence"] for one in listed] == [1], "nothing of it was stored"

        # The theft: all of it goes to the node, and behind it one that the endpoint may sign.
        allowed = build(Case("thief", {"verb": Verb.SYNC}, None, ""), ready, 200, thief)
        replay = Made(100, "f" * 32, "sync", first.body)
        plant(state / "endpoint.db", node, SITE, [*made.values(), replay, allowed])

        async def answered() -> Any:
            found = {one["command_id"]: one for one in await operator.call("GET", f"/v1/nodes/{node}/commands")}
            return found if found[allowed.id]["outcome"] else None

        found = await until(answered)
        log = audited(commander)
        trail = await operator.call("GET", "/v1/admin/audit?limit=200")
        answers = {one["detail"].split("id ")[1][:32]: one for one in trail if one["action"].startswith("answer ")}
        alerts = await operator.call("GET", f"/v1/fleet/alerts?site={SITE}")
        for name, case in CASES.items():
            one = found[made[name].id]
            assert (one["outcome"], one["detail"].split(":")[0]) == ("refused", case.node), name
            assert log[made[name].id] == ("command refused", case.node), name
            line = answers[made[name].id]
            assert (line["actor"], line["outcome"]) == (node, "refused") and f": {case.node}: " in line["detail"], name
        assert found[replay.id]["outcome"] is None, "a replay has had its answer"
        assert log[first.id] == ("command replayed", "")
        assert (found[allowed.id]["outcome"], log[allowed.id][0]) == ("done", "command answered")
        assert json.loads((commander.run_dir / "sync.json").read_bytes())["id"] == allowed.id
        assert wake != (commander.run_dir / "sync.json").read_bytes()
        assert commander.state == "forming" and alerts == []


async def test_past_the_blast_radius_one_operator_is_not_enough(town: Endpoint) -> None:
    async with town.operator() as operator, town.client("", SoftwareKey.generate()) as device:
        await operator.call("POST", "/v1/admin/operators-documents", document(), ok=False)  # it may have it already
        for number, site in enumerate((f"{OTHER}-a", f"{OTHER}-b", f"{OTHER}-c")):  # the first fills the radius
            await operator.put_site(site)
            code = await operator.ship(f"NUC-blast-{number}", site, "kitchen-1")
            device.tokens.clear()
            assert (await device.enrol(f"NUC-blast-{number}", code))[0] == 200
            challenge = secrets.token_urlsafe(16)
            body = {"kind": "challenge", "challenge": challenge, "expires": int(time.time()) + 3600}
            batch = {
                "v": 1,
                "stream": "commander",
                "run": secrets.token_hex(8),
                "messages": [{"seq": 1, "t": 1, "m": body}],
            }
            await device.call("POST", "/v1/ingest", batch, scope="command:read")
            ready = {"node": device.name, "challenge": challenge}
            one, two = (
                build(Case(who, {**WIPE, "site": site}, None, ""), ready, 1, STRANGER) for who in ("alice", "alice bob")
            )
            path = f"/v1/nodes/{device.name}/commands"
            if number:
                status, answer = await operator.call("POST", path, json.loads(one.body), ok=False)
                assert (status, answer["detail"].split(":")[0]) == (422, "threshold")
                assert "needs 2 operator signatures, and has 1: with it" in answer["detail"]
                assert "sites are wiped within 24 h, and one word is enough for 1" in answer["detail"]
            assert (await operator.call("POST", path, json.loads(two.body)))["verb"] == "wipe"
