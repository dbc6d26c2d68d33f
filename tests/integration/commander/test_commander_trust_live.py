"""Shipped with signed entries, enrolled, and then the endpoint is stolen: a real endpoint, `galley` and a commander."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from agents.contracts.signed import SignedDocument
from agents.contracts.trust import OperatorKey, OperatorsDocument
from agents.core.entries import verify_authorisation
from agents.core.jose import SoftwareKey, thumbprint
from agents.core.operators import operators_of
from cloud_endpoint.cli.operators import public_key
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.stolen_endpoint import LIES

SITE = "store-04567"
MODULE = "tests.site_in_a_box.stolen_endpoint"


class Town:
    """The endpoint that will be stolen, and the operator's machine: keys, documents, `galley`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan = folder / "plan"
        self.endpoint = Endpoint(folder / "endpoint")
        program = self.endpoint.program
        program.command = [sys.executable, "-m", MODULE, "--config", str(self.endpoint.config)]
        program.env = {**(program.env or os.environ), "TEST_THIEF_PLAN": str(self.plan)}
        self.alice = self.endpoint.command_key_file
        self.profile = folder / "galley.yaml"

    def start(self) -> None:
        self.endpoint.start()
        values = {
            "url": self.endpoint.url, "issuer": self.endpoint.issuer, "ca_file": str(self.endpoint.ca_file),
            "operator": "demo", "key_file": str(self.endpoint.operator_key_file),
        }  # fmt: skip
        self.profile.write_text(yaml.safe_dump(values))

    async def galley(self, *arguments: object, ok: bool = True) -> Any:
        command = [sys.executable, "-m", "cloud_endpoint.cli", "--profile", self.profile, *map(str, arguments)]
        done = await asyncio.to_thread(
            subprocess.run, [*command, "--output", "json"], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode == 0) is ok, done.stderr
        return json.loads(done.stdout) if ok else done.stderr


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    town = Town(tmp_path_factory.mktemp("town"))
    town.start()
    yield town
    town.endpoint.stop()


@pytest.fixture
async def demo(town: Town) -> AsyncIterator[EndpointClient]:
    async with town.endpoint.operator() as client:
        yield client


async def trust(commander: Any) -> dict[str, Any]:
    _, body = await commander.ask("/v1/status")
    return dict(body.get("trust") or {})


async def until(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    for _ in range(round(seconds / 0.1)):
        if found := await what():
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("it did not come so")


async def test_signed_shipping_theft_and_recovery(
    tmp_path: Path, town: Town, demo: EndpointClient, commanders: Callable[..., Any]
) -> None:
    first, second = tmp_path / "operators-1.json", tmp_path / "operators-2.json"
    await town.galley("operators", "init", "--key", town.alice, "--name", "alice", "--out", first)
    await town.galley("operators", "push", first)
    await demo.put_site(SITE)

    async def ship(number: int) -> str:
        shipped = await town.galley(
            "device", "ship", f"NUC-{number}", "--site", SITE, "--name", f"kitchen-{number}", "--key", town.alice
        )
        return str(shipped["code"])

    codes = {number: await ship(number) for number in (1, 2)}
    commander = commanders(tmp_path / "one", town.endpoint, "NUC-1", operators_file=str(first))
    (tmp_path / "one" / "code").write_text(codes[1])
    async with town.endpoint.client("", SoftwareKey.generate()) as sibling:
        assert (await sibling.enrol("NUC-2", codes[2]))[0] == 200
        commander.start()
        commander.wait(lambda: commander.state == "forming")

        async def taken() -> Any:
            found = await trust(commander)
            return found if found.get("roster") and not found["refused"] else None

        honest = await until(taken)
        assert (honest["policy"], honest["operators"], honest["epoch"]) == ("operators", 1, 1)
        # The endpoint is stolen.
        for code in [*LIES, "signature"]:
            town.plan.write_text(code)

            async def refused(code: str = code) -> Any:
                found = await trust(commander)
                return found["refused"].startswith(f"{code}: ") and found

            found = await until(refused)
            assert (found["roster"], found["digest"]) == (honest["roster"], honest["digest"])

            async def told(code: str = code) -> Any:
                alerts = await demo.call("GET", f"/v1/fleet/alerts?site={SITE}")
                return [one for one in alerts if one["code"] == "roster-refused" and one["text"].startswith(code)]

            assert len(await until(told)) == 1
        # And comes back; operators change their keys, and name the endpoint's new one.
        town.plan.write_text("")
        bob = tmp_path / "bob.json"
        bob.write_text(json.dumps(SoftwareKey.generate("Ed25519").private()))
        bob.chmod(0o600)
        key = tmp_path / "roster-key.json"
        key.write_text(json.dumps(await town.galley("operators", "roster-key")))
        document = tmp_path / "operators-3.json"
        # A generation lost with a backup is made up for, and a new entry is a new generation.
        raised = await town.galley("site", "generation", SITE, "--above", honest["roster"] + 7)
        assert raised["generation"] == honest["roster"] + 8
        anew = ["device", "sign", "NUC-2", "--site", SITE, "--name", "kitchen-2", "--key", town.alice]
        signed = await town.galley(*anew, "--signing", thumbprint(sibling.key.public), "--sequence", 2**40)
        assert (signed["pinned"], signed["counts"], signed["sequence"]) == (True, True, 2**40)

        async def newer() -> Any:
            found = await trust(commander)
            return found["roster"] == honest["roster"] + 9 and not found["refused"]

        await until(newer)
        await town.galley(
            "operators", "add", first, "--name", "bob", "--public", bob, "--key", town.alice, "--out", second
        )
        await town.galley("operators", "endorse", second, "--roster-key", key, "--key", bob, "--out", document)
        await town.galley("operators", "push", second, document)

        async def followed() -> Any:
            found = await trust(commander)
            return found["operators"] == 3 and not found["refused"]

        await until(followed)
        # A device that is revoked is in no roster any more, and a sibling's key was never another.
        await town.galley("device", "revoke", sibling.name, "--key", bob, "--site", SITE, "--sequence", 2**40 + 1)

        async def gone() -> Any:
            found = await trust(commander)
            return found["roster"] > honest["roster"] + 9 and found

        await until(gone)
        stored = json.loads((commander.ident / "trust.json").read_text())["value"]
        assert stored["known"]["seen"][sibling.name]["withdrawn"] is True
        assert stored["known"]["seen"][sibling.name]["signing"] == thumbprint(sibling.key.public)
        assert (await sibling.token("heartbeat:write"))[0] == 401
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "edge_commander", "status", "--config", commander.config],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "trust    operators (operators: document 3)" in done.stdout and "roster   " in done.stdout


async def test_a_node_of_an_older_configuration_follows_the_document_that_its_key_signed(
    tmp_path: Path, town: Town, demo: EndpointClient, commanders: Callable[..., Any]
) -> None:
    """`{"v": 1, "operators": [...]}` stays a configuration; entries are asked for, so the policy must say if not."""
    await demo.put_site(f"{SITE}-old")
    code = await demo.ship("NUC-7", f"{SITE}-old", "kitchen-7")
    plain = tmp_path / "operators.json"
    plain.write_text(json.dumps({"v": 1, "operators": [town.endpoint.key(town.alice).public]}))
    commander = commanders(tmp_path / "seven", town.endpoint, "NUC-7", operators_file=str(plain), trust="endpoint")
    (tmp_path / "seven" / "code").write_text(code)
    commander.start()
    commander.wait(lambda: commander.state == "forming")

    async def taken() -> Any:
        found = await trust(commander)
        return found.get("roster") and found["operators"] >= 1 and found

    found = await until(taken)
    assert (found["policy"], found["refused"]) == ("endpoint", "")


async def test_documents_and_entries_are_made_on_the_operators_machine_and_bad_ones_are_refused(
    tmp_path: Path, town: Town
) -> None:
    keys = {}
    for name in ("ann", "ben", "cat"):
        keys[name] = tmp_path / f"{name}.json"
        keys[name].write_text(json.dumps(SoftwareKey.generate("Ed25519").private()))
        keys[name].chmod(0o600)
    public = tmp_path / "ben.pub.json"
    public.write_text(json.dumps(await town.galley("operators", "public", "--key", keys["ben"])))
    assert "d" not in json.loads(public.read_text())
    one, two, three = (tmp_path / f"{number}.json" for number in (1, 2, 3))
    made = await town.galley(
        "operators", "init", "--key", keys["ann"], "--name", "ann", "--add", f"ben={public}", "--threshold", 2,
        "--out", one,
    )  # fmt: skip
    assert (made["names"], made["threshold"], made["signed_by"]) == (["ann", "ben"], 2, ["ann"])
    assert "exists already" in await town.galley(
        "operators", "init", "--key", keys["ann"], "--name", "ann", "--out", one, ok=False
    )
    await town.galley(
        "operators", "add", one, "--name", "cat", "--public", keys["cat"], "--key", keys["ann"], "--out", two
    )
    signed = await town.galley("operators", "sign", two, "--key", keys["ben"], "--out", three)
    assert signed["signed_by"] == ["ann", "ben"]
    again = await town.galley("operators", "sign", three, "--key", keys["ben"], "--out", tmp_path / "4", ok=False)
    assert "signed by this key already" in again
    removed = await town.galley(
        "operators", "remove", three, "--name", "ann", "--retire", "--key", keys["ann"], "--key", keys["ben"],
        "--out", tmp_path / "retired.json",
    )  # fmt: skip
    assert (removed["names"], removed["retired"], removed["generation"]) == (["ben", "cat"], ["ann"], 3)
    few = await town.galley(
        "operators", "remove", one, "--name", "ann", "--key", keys["ann"], "--out", tmp_path / "few", ok=False
    )
    assert "the threshold is 2" in few and not (tmp_path / "few").exists()
    shown = await town.galley("operators", "show", three)
    assert (shown["generation"], shown["names"]) == (2, ["ann", "ben", "cat"])
    assert "operators-generation" in await town.galley("operators", "push", three, ok=False)
    login = await town.galley(
        "device", "ship", "NUC-8", "--site", SITE, "--name", "x", "--key", town.endpoint.operator_key_file, ok=False
    )
    assert "Ed25519" in login
    stranger = await town.galley(
        "device", "ship", "NUC-8", "--site", SITE, "--name", "x", "--key", keys["cat"], ok=False
    )
    assert "entry-signature" in stranger
    epoch = await town.galley("epoch", "authorise", SITE, "--epoch", 2, "--reason", "a fire", "--key", keys["ann"])
    ann = operators_of(OperatorsDocument(generation=1, keys=[OperatorKey(name="ann", key=public_key(keys["ann"]))]))
    assert verify_authorisation(msgspec.convert(epoch, SignedDocument), ann, site=SITE, epoch=2).reason == "a fire"
    assert "at `epoch`" in await town.galley("epoch", "authorise", SITE, "--epoch", 1, "--key", keys["ann"], ok=False)
    entries = await town.galley("device", "entries", "--site", SITE)
    assert {one["name"] for one in entries if not one["withdrawn"]} == {"kitchen-1"}, "nothing of it is left"
