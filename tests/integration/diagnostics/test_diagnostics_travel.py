"""A bundle from the command to the operator's disk: real endpoint, commander and root half; cut lines and kills."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import tarfile
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloud_endpoint.cli.__main__ import main as galley
from edge_commander.diagnostics.held import read as held_read
from edge_commander.settings import CommanderSettings
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.machine_half import MachineHalf
from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.uplink_proxy import UplinkProxy

SITE = "store-06666"


class Node:
    """A commander with its root half and its line to the cloud."""

    def __init__(self, commander: Any, half: MachineHalf, line: UplinkProxy, operator: EndpointClient) -> None:
        self.commander, self.half, self.line, self.operator = commander, half, line, operator
        self.keep: Path = commander.folder / "keep"

    async def ask(self) -> str:
        """Has the endpoint ask for a bundle; the command's id."""
        for _ in range(400):
            ready = await self.operator.call("GET", f"/v1/nodes/{self.commander.node}/next-command")
            if ready["challenge"]:
                body = {"verb": "collect-diagnostics"}
                status, sent = await self.operator.call(
                    "POST", f"/v1/nodes/{self.commander.node}/requests", body, ok=False
                )
                if status == 201:
                    return str(sent["command_id"])
            await asyncio.sleep(0.1)
        raise AssertionError("no challenge")

    async def answers(self, command: str) -> list[dict[str, Any]]:
        found = await self.operator.call("GET", f"/v1/nodes/{self.commander.node}/commands")
        return [one for one in found if one["command_id"] == command and one["outcome"]]

    async def bundle(self, command: str) -> dict[str, Any]:
        found = await self.operator.call("GET", f"/v1/admin/nodes/{self.commander.node}/diagnostics")
        return next((one for one in found if one["command_id"] == command), {})

    async def until(self, what: Callable[[], Any], seconds: float = 90.0) -> Any:
        """The first true answer of `what`, asked again and again."""
        for _ in range(round(seconds / 0.05)):
            said = what()
            said = await said if asyncio.iscoroutine(said) else said
            if said:
                return said
            await asyncio.sleep(0.05)
        raise AssertionError(self.commander.program.log_tail())

    async def ended(self, command: str) -> dict[str, Any]:
        """Once it is answered and whole at the endpoint."""
        await self.until(lambda: self.answers(command))

        async def whole() -> dict[str, Any]:
            one = await self.bundle(command)
            return one if one and one["whole_ms"] else {}

        return dict(await self.until(whole))

    def again(self) -> None:
        """SIGKILL, and a new start."""
        self.commander.program.kill()
        self.commander.start()


@pytest.fixture
async def node(  # type: ignore[no-untyped-def]
    tmp_path: Path, endpoint: Endpoint, operator: EndpointClient, commanders: Callable[..., Any],
    request: pytest.FixtureRequest,
):  # fmt: skip
    noise = random.Random(6)
    (tmp_path / "app.log").write_text("".join(f"{noise.randbytes(30).hex()} a line of a log\n" for _ in range(8_000)))
    number = abs(hash(request.node.name)) % 10_000
    async with (
        UplinkProxy("127.0.0.1", free_port(), ("127.0.0.1", endpoint.port)) as line,
        _serving(tmp_path, endpoint, operator, commanders, line, number) as made,
    ):
        yield made


@asynccontextmanager
async def _serving(folder, endpoint, operator, commanders, line, number):  # type: ignore[no-untyped-def]
    await operator.put_site(SITE)
    hardware = f"DIAG-{number}"
    code = await operator.ship(hardware, SITE, f"diag-{number}")
    ours = {
        "folder": str(folder / "keep"), "upload_seconds": 0.3,
        "upload_rate": 160 * 1024, "files": [str(folder / "app.log"), str(folder / "commander.log")],
    }  # fmt: skip
    commander = commanders(folder, endpoint, hardware, diagnostics=ours)
    commander.document["endpoint"]["urls"] = [f"https://127.0.0.1:{line.port}"]
    commander.config.write_text(yaml.safe_dump(commander.document))
    (folder / "code").write_text(code)
    async with MachineHalf(commander.run_dir, commander.config) as half:
        await asyncio.to_thread(commander.start)
        node = Node(commander, half, line, operator)
        await node.until(lambda: commander.state == "forming")
        yield node


def profile(endpoint: Endpoint) -> list[str]:
    return [
        "--url", endpoint.url, "--issuer", endpoint.issuer, "--ca-file", str(endpoint.ca_file),
        "--operator", "demo", "--key-file", str(endpoint.operator_key_file),
    ]  # fmt: skip


async def test_asked_for_fetched_and_none_of_the_nodes_secrets_is_in_it(
    node: Node, endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commander = node.commander
    (tmp_path / "state" / "edge-commander").mkdir(parents=True, exist_ok=True)
    (tmp_path / "state" / "edge-commander" / "site-secrets.json").write_text(json.dumps({"token": "5a" * 32}))
    own = CommanderSettings(**_own(commander))
    held = held_read(own, tmp_path / "state")
    assert len(held.values) >= 4  # two device keys, the enrolment code, the site's token
    with (tmp_path / "app.log").open("ab") as log:
        for value in held.values:
            log.write(b"a " + value + b" z\n" + value.hex().encode() + b"\nx" + base64.b64encode(b"ab" + value) + b"\n")
    out = tmp_path / "bundle.tar.gz"
    status = await asyncio.to_thread(
        galley, [*profile(endpoint), "node", "diagnostics", commander.node, "--ask", "-o", str(out)]
    )
    said = capsys.readouterr()
    assert status == 0, said.err
    assert "waits for the node" in said.err and "lies on the node" in said.err and "bytes" in said.err
    content = b""
    with tarfile.open(out) as tar:
        names = tar.getnames()
        for one in tar.getmembers():
            content += tar.extractfile(one).read()  # type: ignore[union-attr]
    assert any(name.endswith("/files/0.txt") for name in names) and b"a line of a log" in content
    assert content.count(b"[scrubbed]") >= 3 * len(held.values)
    for value in held.values:
        for form in (value, value.hex().encode(), base64.b64encode(b"ab" + value)[3:-4]):
            assert form not in content
    assert b'"state": "forming"' in content or b'"state":"forming"' in content
    assert b"command taken" in content  # the commander's own log
    audit = await node.operator.call("GET", "/v1/admin/audit?limit=50")
    mine = [one for one in audit if one["target"] == commander.node]
    assert {"command collect-diagnostics", "diagnostics", "diagnostics fetch"} <= {one["action"] for one in mine}
    status = await asyncio.to_thread(galley, [*profile(endpoint), "node", "diagnostics", commander.node])
    assert status == 0 and commander.node in capsys.readouterr().out


def _own(commander: Any) -> dict[str, Any]:
    from edge_commander.diagnostics.settings import DiagnosticsSettings

    return {
        "keys_dir": commander.own["keys_dir"],
        "enrol_code_file": commander.own["enrol_code_file"],
        "diagnostics": DiagnosticsSettings(**commander.own["diagnostics"]),
    }


async def test_a_cut_line_and_a_new_endpoint_process_go_on_where_it_was(node: Node, endpoint: Endpoint) -> None:
    command = await node.ask()

    async def begun() -> bool:
        one = await node.bundle(command)
        return bool(one) and 0 < one["received"] < one["size"]

    await node.until(begun)
    node.line.cut()
    at = (await node.bundle(command))["received"]
    await asyncio.sleep(0.5)
    assert (await node.bundle(command))["received"] <= at + 64 * 1024  # what was under way
    await asyncio.to_thread(endpoint.program.kill)
    await asyncio.to_thread(endpoint.start)
    before = (await node.bundle(command))["received"]
    assert before >= at > 0
    sent = node.line.up_bytes
    node.line.mend()
    one = await node.ended(command)
    assert one["received"] == one["size"]
    assert node.line.up_bytes - sent < one["size"] - before + 128 * 1024  # nothing of what was there came again
    assert len(await node.answers(command)) == 1


@pytest.mark.parametrize("moment", ["asked", "made", "sending", "sent"])
async def test_killed_at_each_step_there_is_one_whole_bundle_and_one_answer(node: Node, moment: str) -> None:
    if moment in ("asked", "made"):
        node.half.answers.clear()
    command = await node.ask()
    if moment == "asked":
        await node.until(node.half.asked.is_set)
    elif moment == "made":
        await node.until(lambda: node.half.made)
    elif moment == "sending":
        await node.until(lambda: _received(node, command))
    else:
        await node.ended(command)
        (node.commander.folder / "state" / "edge-commander" / "diagnostics.json").unlink(missing_ok=True)
    await asyncio.to_thread(node.again)
    node.half.answers.set()
    one = await node.ended(command)
    assert [file.name for file in node.keep.glob("*.tar.gz")] == [f"{command}.tar.gz"]
    assert list(node.keep.glob(".*.part")) == []
    assert (node.keep / f"{command}.tar.gz").stat().st_size == one["size"]
    answers = await node.answers(command)
    assert len(answers) == 1 and answers[0]["outcome"] == "done" and one["sha256"] in answers[0]["detail"]
    found = await node.operator.call("GET", f"/v1/admin/nodes/{node.commander.node}/diagnostics")
    assert [entry["command_id"] for entry in found] == [command]
    answered = [line for line in node.commander.program.log.read_text().splitlines() if '"command answered"' in line]
    assert len(answered) == 1


async def _received(node: Node, command: str) -> bool:
    one = await node.bundle(command)
    return bool(one) and one["received"] > 0


async def test_a_node_that_may_not_write_says_so_and_nothing_is_there(node: Node) -> None:
    node.keep.write_text("not a folder")
    command = await node.ask()
    answers = await node.until(lambda: node.answers(command))
    assert answers[0]["outcome"] == "failed" and str(node.keep) in answers[0]["detail"]
