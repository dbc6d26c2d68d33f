"""`galley site verify` as a process against the real endpoint: three devices report, the report is signed and kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from agents.contracts.codec import decode
from agents.contracts.signed import SignedDocument
from agents.core.jose import SoftwareKey, thumbprint
from agents.core.signed import signers_of
from cloud_endpoint import keyfile
from cloud_endpoint.rules.acceptance_report import ACCEPTANCE_TYPE
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.reports import Device, deployment, device, facts, state, step, synthetic


async def verify(endpoint: Endpoint, *words: str | Path) -> subprocess.CompletedProcess[str]:
    own = ["--url", endpoint.url, "--issuer", endpoint.issuer, "--ca-file", endpoint.ca_file]
    who = ["--operator", "demo", "--key-file", endpoint.operator_key_file]
    command = [sys.executable, "-m", "cloud_endpoint.cli", *own, *who, "site", *words]
    return await asyncio.to_thread(
        subprocess.run, [*map(str, command)], capture_output=True, text=True, timeout=60, check=False
    )


async def well(one: Device) -> None:
    await one.send("heartbeat", facts(interval=15.0))
    await one.beat()
    await one.send("commander", state("ready", ""))


async def test_a_new_site_is_verified_signed_and_kept(endpoint: Endpoint, operator: EndpointClient, site: str) -> None:
    path = f"/v1/admin/sites/{site}/acceptance"
    async with contextlib.AsyncExitStack() as stack:
        nodes = []
        for number in (1, 2, 3):
            made = device(endpoint, operator, f"hw-{site}-{number}", site, f"nuc-{number}")
            nodes.append(await stack.enter_async_context(made))
        for one in nodes[:2]:
            await well(one)
        await nodes[0].send("vessel", deployment("pos"), deployment("*"))
        await nodes[1].send("synthetic", synthetic(step("menu", {3: 4})))

        failed = await verify(endpoint, "verify", site)
        assert failed.returncode == 3, failed.stderr
        assert "nuc-3 has not told its state" in failed.stdout and "NOT ACCEPTED" in failed.stdout
        assert (await operator.call("GET", path, ok=False))[0] == 404, "without a key nothing is stored"

        await well(nodes[2])
        done = await verify(endpoint, "verify", site, "--key", endpoint.command_key_file, "--output", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert (answer["accepted"], answer["signed_by"], answer["revision"]) == (True, "demo", "4f" * 20)
    stored = await operator.call("GET", path)
    key = endpoint.key(endpoint.command_key_file).public
    signed = decode(json.dumps(stored["signed"]), SignedDocument)
    assert signers_of(signed.payload, signed.signatures, {thumbprint(key): key}, ACCEPTANCE_TYPE)
    assert stored["report"]["checks"] == answer["checks"]
    lines = [line for line in await operator.call("GET", "/v1/admin/audit") if line["target"] == site]
    assert ("op:demo", "site acceptance", "done") in [(one["actor"], one["action"], one["outcome"]) for one in lines]
    table = await verify(endpoint, "acceptance", site)
    assert table.returncode == 0 and "signed by demo, stored" in table.stdout
    status, problem = await operator.call("POST", path, stored["signed"], ok=False)
    assert (status, "later one" in problem["detail"]) == (409, True), "a copy is not a new report"


async def test_a_key_that_nobody_registered_stores_nothing(
    endpoint: Endpoint, operator: EndpointClient, site: str, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger.json"
    keyfile.create(stranger, SoftwareKey.generate("Ed25519"))
    refused = await verify(endpoint, "verify", site, "--key", stranger)
    assert (refused.returncode, "signed by an unknown key" in refused.stderr) == (1, True)
    wrong = await verify(endpoint, "verify", site, "--key", endpoint.operator_key_file)
    assert (wrong.returncode, "Ed25519" in wrong.stderr) == (1, True), "a login's key signs nothing else"
    assert (await operator.call("GET", f"/v1/admin/sites/{site}/acceptance", ok=False))[0] == 404
    lines = [line for line in await operator.call("GET", "/v1/admin/audit") if line["target"] == site]
    assert ("site acceptance", "refused") in [(one["action"], one["outcome"]) for one in lines]


async def test_no_device_and_no_reader_stores_or_reads_it(
    endpoint: Endpoint, operator: EndpointClient, device: EndpointClient, site: str
) -> None:
    reader = SoftwareKey.generate()
    body = {"name": f"reader-{site}", "key": reader.public, "scopes": ["fleet:read"]}
    await operator.call("POST", "/v1/admin/operators", body)
    path = f"/v1/admin/sites/{site}/acceptance"
    async with endpoint.client(f"op:reader-{site}", reader) as client:
        assert (await client.call("GET", path, ok=False))[0] == 403
    assert (await device.call("GET", path, scope="command:read", ok=False))[0] == 403


@pytest.mark.parametrize("wanted", ["store-99999"])
async def test_a_site_that_is_not_there_is_an_error(endpoint: Endpoint, wanted: str) -> None:
    done = await verify(endpoint, "verify", wanted)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "galley: no such site\n")
