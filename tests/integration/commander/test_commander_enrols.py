"""A real commander and a real endpoint: from factory to a node that holds tokens, also when it is killed."""

import asyncio
import base64
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.site_in_a_box.endpoint import Endpoint, EndpointClient

SITE = "store-01234"


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


async def ship(operator: EndpointClient, hardware_id: str) -> str:
    await operator.put_site(SITE, labels={"region": "north"}, atlas={"url": "https://git.example/atlas"})
    return await operator.ship(hardware_id, SITE, f"kitchen-{hardware_id[-4:]}")


async def test_enrols_with_its_code_and_serves_tokens_by_role(
    tmp_path: Path, endpoint: Endpoint, operator: EndpointClient, commanders: Callable[..., Any]
) -> None:
    code = await ship(operator, "NUC-1001")
    commander = commanders(tmp_path, endpoint, "NUC-1001")
    commander.start()
    commander.wait(lambda: commander.state == "enrolling" and bool(commander.why))
    status, answer = await commander.ask("/v1/token")
    assert status == 503 and "title" in answer
    (tmp_path / "code").write_text(f"{code}\n")  # it comes late
    commander.wait(lambda: commander.state == "forming")
    for role, scope in (
        ("vessel", "deploy:report"),
        ("heartbeat", "heartbeat:write"),
        ("synthetic", "synthetic:write"),
    ):
        status, token = await commander.ask("/v1/token", role)
        assert status == 200 and token["scope"] == scope
        held = claims(token["access_token"])
        assert (held["sub"], held["site"], held["scope"]) == (commander.node, SITE, scope)
        assert 0 < token["expires_in"] <= 600
    status, site = await commander.ask("/v1/site", "heartbeat")
    assert status == 200 and site["site"] == SITE and {one["name"] for one in site["roster"]} >= {"kitchen-1001"}
    status, _ = await commander.ask("/v1/git-credential", "heartbeat")
    assert status == 403
    log = commander.program.log.read_text()
    assert code not in log and token["access_token"] not in log and "eyJ" not in log


async def test_unknown_waits_for_a_person_and_goes_on_when_approved(
    tmp_path: Path, endpoint: Endpoint, operator: EndpointClient, commanders: Callable[..., Any]
) -> None:
    await operator.put_site(SITE)
    commander = commanders(tmp_path, endpoint, "NUC-1002", enrol_seconds=0.3)
    commander.start()
    commander.wait(lambda: commander.why == "waiting: approval")
    waiting = await operator.call("GET", "/v1/admin/enrolments")
    mine = [one for one in waiting if one["node"] == commander.node]
    assert len(mine) == 1
    body = {"site": SITE, "name": "kitchen-2"}
    await operator.call("POST", f"/v1/admin/enrolments/{mine[0]['id']}/approve", body)
    commander.program.stop()
    commander.start()  # so as not to wait out retry_after
    commander.wait(lambda: commander.state == "forming")


async def test_a_second_key_is_quarantined_and_the_first_works_on(
    tmp_path: Path, endpoint: Endpoint, operator: EndpointClient, commanders: Callable[..., Any]
) -> None:
    code = await ship(operator, "NUC-1003")
    first = commanders(tmp_path / "first", endpoint, "NUC-1003")
    (tmp_path / "first" / "code").write_text(code)
    first.start()
    first.wait(lambda: first.state == "forming")
    clone = commanders(tmp_path / "clone", endpoint, "NUC-1003")
    (tmp_path / "clone" / "code").write_text(code)
    clone.start()
    clone.wait(lambda: clone.why == "waiting: a person (quarantined)")
    assert (await clone.ask("/v1/token"))[0] == 503
    assert (await first.ask("/v1/token"))[0] == 200


async def test_killed_at_random_moments_it_is_one_identity(
    tmp_path: Path, endpoint: Endpoint, operator: EndpointClient, commanders: Callable[..., Any]
) -> None:
    code = await ship(operator, "NUC-1004")
    commander = commanders(tmp_path, endpoint, "NUC-1004")
    (tmp_path / "code").write_text(code)
    keys, seen, chance = tmp_path / "ident" / "device-keys.json", set(), random.Random(4)
    for _ in range(12):
        commander.program.start()
        await asyncio.sleep(chance.uniform(0.35, 1.1))
        commander.program.kill()
        if keys.exists():
            seen.add(keys.read_bytes())
    commander.start()
    commander.wait(lambda: commander.state == "forming")
    seen.add(keys.read_bytes())
    assert len(seen) == 1
    assert not list((tmp_path / "ident").glob("*.corrupt-*"))
    devices = await operator.call("GET", "/v1/admin/devices")
    assert [one["status"] for one in devices if one["node"] == commander.node] == ["enrolled"]
    enrolments = await operator.call("GET", "/v1/admin/enrolments")
    assert not [one for one in enrolments if one["node"] == commander.node]
    assert (await commander.ask("/v1/token"))[0] == 200


async def test_offline_after_a_restart_it_serves_the_site(
    tmp_path: Path, operator: EndpointClient, commanders: Callable[..., Any], tmp_path_factory: Any
) -> None:
    own = Endpoint(tmp_path_factory.mktemp("own-endpoint"))
    own.start()
    try:
        async with own.operator() as person:
            code = await ship(person, "NUC-1005")
            commander = commanders(tmp_path, own, "NUC-1005")
            (tmp_path / "code").write_text(code)
            commander.start()
            commander.wait(lambda: commander.state == "forming")
    finally:
        own.stop()
    commander.program.kill()
    commander.start()
    status, site = await commander.ask("/v1/site")
    assert status == 200 and site["site"] == SITE
    status, _ = await commander.ask("/v1/token")
    assert status == 503
    assert commander.state == "forming"
