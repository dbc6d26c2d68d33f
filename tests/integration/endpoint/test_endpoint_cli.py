"""The `galley` and `galley-endpoint` commands as processes, against the real endpoint."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.core.jose import SoftwareKey
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient


def run(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="session")
def profile(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("cli") / "galley.yaml"
    values = {
        "url": endpoint.url,
        "issuer": endpoint.issuer,
        "ca_file": str(endpoint.ca_file),
        "operator": "demo",
        "key_file": str(endpoint.operator_key_file),
    }
    file.write_text(yaml.safe_dump(values))
    return file


async def galley(profile: Path, *arguments: str | Path) -> Any:
    done = await asyncio.to_thread(run, "cloud_endpoint.cli", "--profile", profile, *arguments, "--output", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_a_device_from_the_box_to_enrolled_and_out_again(endpoint: Endpoint, profile: Path, site: str) -> None:
    hardware = f"cli-{site}"
    made = await galley(profile, "site", "add", site, "--label", "ring=1", "--atlas-url", "https://git.test/a.git")
    assert (made["labels"], made["atlas"]["branch"]) == ({"ring": "1"}, "main")
    shipped = await galley(profile, "device", "ship", hardware, "--site", site, "--name", "node-1")
    async with (
        endpoint.client("", SoftwareKey.generate()) as device,
        endpoint.client("", SoftwareKey.generate()) as two,
    ):
        assert (await device.enrol(hardware, shipped["code"]))[0] == 200
        await two.enrol(f"{hardware}-unknown")
        waiting = await galley(profile, "device", "list", "--waiting")
        assert two.name in [one["node"] for one in waiting]
        approved = await galley(profile, "device", "approve", two.name, "--site", site, "--name", "node-2")
        assert (approved["site"], approved["status"]) == (site, "enrolled")
        listed = await galley(profile, "device", "list", "--site", site)
        assert [(one["name"], one["status"]) for one in listed] == [("node-1", "enrolled"), ("node-2", "enrolled")]
        assert (await galley(profile, "device", "revoke", device.name))["changed"] is True
        assert (await device.token("heartbeat:write"))[0] == 401
    shown = await galley(profile, "site", "show", site)
    assert [node["status"] for node in shown["nodes"]] == ["revoked", "enrolled"]
    actions = [line["action"] for line in await galley(profile, "audit", "--limit", "20")]
    assert {"device ship", "enrol", "device approve", "device revoke"} <= set(actions)


async def test_an_operator_made_by_the_command_can_log_in_with_its_rights_alone(
    endpoint: Endpoint, profile: Path, tmp_path: Path, site: str
) -> None:
    key_file = tmp_path / "ann.json"
    name = f"ann-{site}"
    await galley(profile, "operator", "add", name, "--key-out", key_file, "--scopes", "fleet:read")
    assert key_file.stat().st_mode & 0o777 == 0o600
    taken = [*("operator", "add", name), "--key-out", str(tmp_path / "again.json")]
    refused = await asyncio.to_thread(run, "cloud_endpoint.cli", "--profile", profile, *taken)
    assert (refused.returncode, "another key" in refused.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["ann.json"]  # so that the next try is not in its own way
    as_ann = ["--operator", name, "--key-file", str(key_file)]
    assert site in [one["site"] for one in await galley(profile, *as_ann, "site", "list")]
    link = await galley(profile, *as_ann, "login-link")
    assert link["url"].startswith(f"{endpoint.url}/login?code=")
    refused = await asyncio.to_thread(run, "cloud_endpoint.cli", "--profile", profile, *as_ann, "audit")
    assert (refused.returncode, "needs the scope admin" in refused.stderr) == (1, True)
    await galley(profile, "operator", "revoke", name)
    refused = await asyncio.to_thread(run, "cloud_endpoint.cli", "--profile", profile, *as_ann, "site", "list")
    assert (refused.returncode, f"the endpoint knows no operator {name!r}, or" in refused.stderr) == (1, True)


async def test_tables_are_for_people_and_what_devices_say_cannot_steer_the_terminal(
    profile: Path, operator: EndpointClient, device: EndpointClient, site: str
) -> None:
    evil = {"kind": "alert", "code": "x", "severity": "info", "text": "\x1b[2Jred"}
    body = {"v": 1, "stream": "heartbeat", "run": "e" * 16, "messages": [{"seq": 1, "t": 1, "m": evil}]}
    await device.call("POST", "/v1/ingest", body, scope="heartbeat:write")
    done = await asyncio.to_thread(run, "cloud_endpoint.cli", "--profile", profile, "alerts", "--site", site)
    assert done.returncode == 0
    assert done.stdout.startswith("LAST")
    assert "red" in done.stdout
    assert "\x1b" not in done.stdout


async def test_a_wrong_profile_says_all_that_is_wrong(tmp_path: Path, profile: Path) -> None:
    done = await asyncio.to_thread(run, "cloud_endpoint.cli", "--profile", tmp_path / "none.yaml", "site", "list")
    assert (done.returncode, "none.yaml" in done.stderr) == (78, True)
    done = await asyncio.to_thread(
        run, "cloud_endpoint.cli", "--profile", profile, "--url", "http://cloud.test", "site", "list"
    )
    assert (done.returncode, "plain http" in done.stderr) == (78, True)
    key = tmp_path / "key.json"
    key.write_text("{}")
    done = await asyncio.to_thread(run, "cloud_endpoint.cli", "--profile", profile, "--key-file", key, "site", "list")
    assert (done.returncode, "key.json" in done.stderr) == (1, True)


async def test_the_daemon_refuses_a_wrong_configuration_and_a_corrupt_store(endpoint: Endpoint, tmp_path: Path) -> None:
    good = yaml.safe_load(endpoint.config.read_text())
    good["node"] = {"state_dir": str(tmp_path / "state"), "run_dir": str(tmp_path / "run")}
    config = tmp_path / "galley.yaml"
    own = good["cloud_endpoint"]
    config.write_text(yaml.safe_dump({**good, "cloud_endpoint": {**own, "colour": "red", "issuer": 5}}))
    done = await asyncio.to_thread(run, "cloud_endpoint", "--config", config)
    assert done.returncode == 78
    assert "cloud_endpoint.colour: unknown key" in done.stderr
    assert "cloud_endpoint.issuer" in done.stderr
    config.write_text(yaml.safe_dump({**good, "cloud_endpoint": {**own, "health": {"bind": "0.0.0.0", "port": 1}}}))
    done = await asyncio.to_thread(run, "cloud_endpoint", "--config", config)
    assert (done.returncode, "must be a loopback address" in done.stderr) == (78, True)
    store = tmp_path / "broken.db"
    store.write_bytes(b"x" * 5000)
    config.write_text(yaml.safe_dump({**good, "cloud_endpoint": {**own, "store": str(store)}}))
    done = await asyncio.to_thread(run, "cloud_endpoint", "--config", config)
    assert done.returncode == 1
    assert "broken.db" in done.stderr
    assert "corrupt" in done.stderr
    assert store.read_bytes() == b"x" * 5000


async def test_a_device_is_shipped_by_the_hash_of_its_tpm(profile: Path, operator: EndpointClient, site: str) -> None:
    where = ["--site", site, "--name", "node-1"]
    shipped = await galley(profile, "device", "ship", f"tpm-{site}", *where, "--ek-hash", "a" * 64)
    assert (shipped["proof"], shipped["ek_hash"], shipped["code"]) == ("tpm", "a" * 64, "")
    assert f"{site} node-1, by tpm" in [one["detail"] for one in await operator.call("GET", "/v1/admin/audit")]
    wrong = ["device", "ship", f"tpm-{site}", *where, "--ek-hash", "no-hash"]
    done = await asyncio.to_thread(run, "cloud_endpoint.cli", "--profile", profile, *wrong)
    assert done.returncode == 1 and "ek_hash" in done.stderr


async def test_a_refusal_is_the_endpoints_own_words_about_what_was_given(profile: Path) -> None:
    ship = ["device", "ship", "hw-nowhere", "--site", "nope-1", "--name", "node-1"]
    done = await asyncio.to_thread(run, "cloud_endpoint.cli", "--profile", profile, *ship)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "galley: site: there is no site 'nope-1'\n")


async def test_a_second_endpoint_on_the_store_is_refused_and_the_first_serves_on(
    endpoint: Endpoint, tmp_path: Path, operator: EndpointClient
) -> None:
    good = yaml.safe_load(endpoint.config.read_text())
    store = endpoint.folder / "state/galley-endpoint/endpoint.db"
    other = tmp_path / "other.yaml"
    state = {"state_dir": str(tmp_path / "state"), "run_dir": str(tmp_path / "run")}
    tls = {**good["cloud_endpoint"]["tls"], "port": 0}
    own = {**good["cloud_endpoint"], "tls": tls, "health": {"port": 0}, "store": str(store)}
    other.write_text(yaml.safe_dump({"v": 1, "node": state, "cloud_endpoint": own}))
    for config in (endpoint.config, other):
        done = await asyncio.to_thread(run, "cloud_endpoint", "--config", config)
        assert (done.returncode, '"ready"' in done.stderr) == (1, False), done.stderr
        assert f"{store}: another galley-endpoint runs on this store" in done.stderr
    assert not (tmp_path / "state/galley-endpoint/token-key.json").exists(), "nothing half-done"
    assert await operator.call("GET", "/v1/fleet/sites") is not None


def test_the_endpoints_own_keys_are_private_and_kept(endpoint: Endpoint) -> None:
    state = endpoint.folder / "state" / "galley-endpoint"
    for name in ("token-key.json", "command-key.json", "endpoint.db"):
        assert (state / name).stat().st_mode & 0o777 == 0o600
    before = (state / "token-key.json").read_bytes()
    endpoint.program.kill()
    endpoint.start()
    assert (state / "token-key.json").read_bytes() == before


def test_certificates_are_made_and_an_existing_key_is_never_overwritten(tmp_path: Path, endpoint: Endpoint) -> None:
    assert run("cloud_endpoint", "make-certs", tmp_path / "certs").returncode == 0
    assert (tmp_path / "certs" / "server-key.pem").stat().st_mode & 0o777 == 0o600
    done = run(
        "cloud_endpoint",
        "operator",
        "add",
        "demo",
        "--key-out",
        endpoint.operator_key_file,
        "--config",
        endpoint.config,
    )
    assert (done.returncode, "exists already" in done.stderr) == (1, True)


async def test_a_site_that_elects_offline_and_its_next_epoch(profile: Path, site: str, tmp_path: Path) -> None:
    name = f"{site}-off"
    made = await galley(profile, "site", "add", name, "--election", "offline")
    assert (made["epoch"], made["election"]) == (1, "offline")
    refused = await asyncio.to_thread(
        run, "cloud_endpoint.cli", "--profile", profile, "site", "add", name, "--election", "cloud"
    )
    assert refused.returncode == 1 and "changes with the epoch" in refused.stderr
    signed = tmp_path / "epoch.jws"
    signed.write_text("a.b.c\n")
    made = await galley(profile, "site", "epoch", name, "--to", "2", "--authorisation", signed)
    assert (made["epoch"], made["election"], made["epoch_authorisation"]) == (2, "offline", "a.b.c")
    refused = await asyncio.to_thread(
        run, "cloud_endpoint.cli", "--profile", profile, "site", "epoch", name, "--to", "9"
    )
    assert refused.returncode == 1 and "the next is 3" in refused.stderr
    made = await galley(profile, "site", "epoch", name, "--to", "3", "--restore")
    assert (made["epoch"], made["restore"]) == (3, True)
    missing = ["site", "epoch", name, "--to", "4", "--authorisation", tmp_path / "none"]
    refused = await asyncio.to_thread(run, "cloud_endpoint.cli", "--profile", profile, *missing)
    assert refused.returncode == 1 and "cannot be read" in refused.stderr


async def test_orders_to_a_site_are_given_listed_and_refused(profile: Path, site: str, tmp_path: Path) -> None:
    name = f"{site}-orders"
    await galley(profile, "site", "add", name)
    made = await galley(profile, "site", "upgrade", name, "--to", "1.36.3", "--number", "5")
    assert (made["order"]["kind"], made["order"]["version"], made["current"]) == ("upgrade", "1.36.3", True)
    made = await galley(profile, "site", "rotate", name)
    assert made["order"]["number"] > 1_700_000_000
    assert len(await galley(profile, "site", "orders", name)) == 2
    for words, text in (
        (["--to", "1.36.4", "--number", "5"], "not above"),
        (["--to", "1.36.4", "--epoch", "2"], "the site is at 1"),
        (["--to", "newest"], "the order cannot be so"),
        (["--to", "1.36.4", "--key", tmp_path / "none.json"], "none.json"),
    ):
        command = ["--profile", profile, "site", "upgrade", name, *words]
        refused = await asyncio.to_thread(run, "cloud_endpoint.cli", *command)
        assert refused.returncode == 1 and text in refused.stderr, refused.stderr
