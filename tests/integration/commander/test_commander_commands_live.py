"""Commands through a real endpoint: sent by an operator, pulled, verified, done once, answered once; also killed."""

import asyncio
import json
import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.contracts.codec import encode
from agents.contracts.command import Command, Verb
from agents.core.command_verify import sign_command
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient

SITE = "store-03456"


async def enrolled(
    folder: Path, endpoint: Endpoint, operator: EndpointClient, commanders: Callable[..., Any], number: int
) -> Any:
    await operator.put_site(SITE)
    code = await operator.ship(f"NUC-{number}", SITE, f"kitchen-{number}")
    own = {"operators_file": str(folder / "operators.json"), "wipe": {"turn_seconds": 1.0}}
    commander = commanders(folder, endpoint, f"NUC-{number}", **own)
    (folder / "code").write_text(code)
    operators = [endpoint.key(endpoint.command_key_file).public]
    (folder / "operators.json").write_text(json.dumps({"v": 1, "operators": operators}))
    commander.start()
    commander.wait(lambda: commander.state == "forming")
    return commander


async def challenge(operator: EndpointClient, node: str) -> dict[str, Any]:
    """What the next command must carry, once the node has published it."""
    for _ in range(200):
        ready = await operator.call("GET", f"/v1/nodes/{node}/next-command")
        if ready["challenge"]:
            return dict(ready)
        await asyncio.sleep(0.1)
    raise AssertionError("the node published no challenge")


async def answers(operator: EndpointClient, node: str, count: int) -> list[dict[str, Any]]:
    """The node's commands, once so many are answered."""
    for _ in range(250):
        found = await operator.call("GET", f"/v1/nodes/{node}/commands")
        if sum(1 for one in found if one["outcome"]) >= count:
            return list(found)
        await asyncio.sleep(0.1)
    raise AssertionError(f"not answered: {found}")


async def test_sync_by_the_endpoint_and_wipe_by_an_operator(
    tmp_path: Path, endpoint: Endpoint, operator: EndpointClient, commanders: Callable[..., Any]
) -> None:
    commander = await enrolled(tmp_path, endpoint, operator, commanders, 3001)
    await challenge(operator, commander.node)
    before = time.monotonic()
    sent = await operator.call("POST", f"/v1/nodes/{commander.node}/requests", {"verb": "sync"})
    found = await answers(operator, commander.node, 1)
    assert time.monotonic() - before < 10
    assert (found[0]["verb"], found[0]["outcome"]) == ("sync", "done")
    wake = json.loads((commander.run_dir / "sync.json").read_text())
    assert wake["sequence"] == sent["sequence"]

    ready = await challenge(operator, commander.node)
    now = int(time.time())
    wipe = Command(
        id=secrets.token_hex(16), verb=Verb.WIPE, site=SITE, node=commander.node, sequence=ready["sequence"],
        challenge=ready["challenge"], issued=now, expires=now + 600, targets=["var"],
    )  # fmt: skip
    signed = sign_command(wipe, [endpoint.key(endpoint.command_key_file)])
    await operator.call("POST", f"/v1/nodes/{commander.node}/commands", json.loads(encode(signed)))
    found = await answers(operator, commander.node, 2)
    assert (found[0]["verb"], found[0]["outcome"]) == ("wipe", "failed")  # there is no root half here to arm it
    assert "machine.sock" in found[0]["detail"]
    assert commander.state == "forming"


@pytest.mark.parametrize("seed", [1])
async def test_killed_at_random_moments_each_command_is_answered_once(
    tmp_path: Path, endpoint: Endpoint, operator: EndpointClient, commanders: Callable[..., Any], seed: int
) -> None:
    commander = await enrolled(tmp_path, endpoint, operator, commanders, 3002)
    chance = random.Random(seed)
    for n in range(5):
        await challenge(operator, commander.node)
        status, _ = await operator.call("POST", f"/v1/nodes/{commander.node}/requests", {"verb": "sync"}, ok=False)
        assert status == 201
        await asyncio.sleep(chance.uniform(0.0, 0.15))
        commander.program.kill()
        commander.start()
        found = await answers(operator, commander.node, n + 1)
        assert [one["outcome"] for one in found] == ["done"] * (n + 1)
        await fresh_challenge(operator, commander)
    ledger = json.loads((commander.ident / "commands.json").read_text())["value"]
    assert ledger["current"] is None and ledger["consumed"] == found[0]["sequence"]
    log = [json.loads(line) for line in commander.program.log.read_text().splitlines() if line.startswith("{")]
    taken = [line["id"] for line in log if line["event"] == "command taken"]
    assert len(taken) == len(set(taken)) == 5


async def fresh_challenge(operator: EndpointClient, commander: Any) -> None:
    """Waits until the endpoint shows the challenge that the node holds now."""
    for _ in range(200):
        held = json.loads((commander.ident / "commands.json").read_text())["value"]["challenges"]
        shown = (await challenge(operator, commander.node))["challenge"]
        if held and held[-1]["value"] == shown:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the new challenge did not reach the endpoint")
