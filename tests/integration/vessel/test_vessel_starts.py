"""How Vessel starts where something is missing or wrong: what waits, what is refused, what raises an alert."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.vessel_process import VesselProcess

CUT_OFF = {"urls": ["https://127.0.0.1:9"], "issuer": "https://cloud.example"}


def ready(vessel: VesselProcess) -> list[Any]:
    return [event for event in vessel.events() if event["event"] == "ready"]


async def health(port: int, component: str) -> dict[str, Any]:
    """One component as the health port tells it."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as answer:
        found: dict[str, Any] = (await answer.json())["components"].get(component, {})
        return found


async def until(vessel: VesselProcess, port: int, *words: str) -> None:
    """Waits until the component `kubernetes` fails with these words."""
    for _ in range(150):
        found = await health(port, "kubernetes")
        if found and not found["ok"] and all(word in found["text"] for word in words):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"never said {words}: {found}\n{vessel.program.log_tail(20)}")


async def test_a_kubeconfig_that_comes_late_is_waited_for(slate: Any) -> None:
    revision = slate.repo.commit({"apps/web/app.yaml": slate.app(), "apps/web/ns.yaml": slate.namespace()}, "first")
    late, port = slate.folder / "late.kubeconfig", free_port()
    vessel = slate.vessel(kubeconfig=late, health={"port": port}).start()
    await vessel.wait(lambda: ready(vessel), "ready without a cluster", seconds=20)
    await until(vessel, port, "no such kubeconfig", str(late))
    good = yaml.safe_load(slate.site.kubeconfig.read_text())
    wrong = {
        "a: [": "not usable",
        "[]": "not usable",
        "v: 1": "not usable",
        yaml.safe_dump({**good, "current-context": "none"}): "not usable",
        yaml.safe_dump(good).replace("certificate-authority-data: ", "certificate-authority-data: AAAA"): "not usable",
    }
    for text, words in wrong.items():
        late.write_text(text)
        await until(vessel, port, words, str(late))
    assert len(ready(vessel)) == 1
    assert vessel.program.running
    warnings = [e["cause"] for e in vessel.events() if e["event"] == "the cluster is not ready for Vessel"]
    assert len(warnings) <= 1 + len(wrong), "each cause is logged once"
    keys = [user["user"]["client-key-data"] for user in good["users"] if "client-key-data" in user["user"]]
    assert keys
    assert not any(key[:40] in vessel.program.log.read_text() for key in keys)
    late.write_text(yaml.safe_dump(good))
    await vessel.wait_report(app="*", phase="healthy", revision=revision)
    assert len(ready(vessel)) == 1


def cut_off(folder: Path, tmp_path: Path) -> VesselProcess:
    """Of a node that is enrolled nowhere yet: its Atlas would come through the socket."""
    vessel = VesselProcess(folder, kubeconfig=tmp_path / "none", kubectl=Path("/none"))
    facts = {
        "hardware_id": "GALLEY-0001",
        "serial": "GALLEY-0001",
        "boot_id": "b" * 32,
        "hostname": "n",
        "hardware": "x",
    }
    (folder / "machine.json").write_text(json.dumps(facts))
    document = yaml.safe_load(vessel.config.read_text())
    document["endpoint"] = CUT_OFF
    document["node"]["machine"] = f"file:{folder / 'machine.json'}"
    vessel.config.write_text(yaml.safe_dump(document))
    return vessel


@pytest.mark.parametrize("name", ["source.json", "known.json"])
async def test_a_damaged_state_file_raises_an_alert(tmp_path: Path, name: str) -> None:
    vessel = cut_off(tmp_path / "nuc", tmp_path)
    vessel.state.mkdir(parents=True)
    (vessel.state / name).write_bytes(b"\0" * 40)
    vessel.start()
    try:
        await vessel.wait(lambda: ready(vessel), "ready", seconds=20)
        [alert] = [body for body in vessel.outbox() if body.get("code") == "state-quarantined"]
        assert f"{name}.corrupt-1" in alert["text"]
        assert (vessel.state / f"{name}.corrupt-1").read_bytes() == b"\0" * 40
    finally:
        await asyncio.to_thread(vessel.stop)


async def test_the_identity_socket_lies_in_the_nodes_run_directory(tmp_path: Path) -> None:
    vessel = cut_off(tmp_path / "nuc", tmp_path)
    run_dir = Path(yaml.safe_load(vessel.config.read_text())["node"]["run_dir"])
    run_dir.mkdir(parents=True, exist_ok=True)
    asked = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        asked.set()
        return web.Response(status=503)

    app = web.Application()
    app.router.add_get("/v1/token", answer)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.UnixSite(runner, str(run_dir / "identity.sock")).start()
    # The alert of a damaged file is something to send, for which it asks for a token.
    vessel.state.mkdir(parents=True)
    (vessel.state / "known.json").write_bytes(b"")
    vessel.start()
    try:
        await asyncio.wait_for(asked.wait(), 30)
    finally:
        await asyncio.to_thread(vessel.stop)
        await runner.cleanup()


@pytest.mark.parametrize(
    ("vessel", "expected"),
    [
        ({"poll_seconds": -1, "colour": "red"}, ["vessel.colour: unknown key", "vessel.poll_seconds: "]),
        ({}, ["vessel.atlas: is required where there is no section `endpoint`"]),
        ({"atlas": {"url": "ftp://x"}}, ["vessel.atlas: the Atlas' address 'ftp://x' must begin with"]),
        ({"atlas": {"url": "https://x/y", "credential": "endpoint"}}, ["vessel.atlas.credential: `endpoint` needs"]),
        (
            {"atlas": {"url": "https://x/y"}, "git_ca_file": "/nowhere/ca.pem"},
            ["vessel.git_ca_file: /nowhere/ca.pem: "],
        ),
        ({"atlas": {"url": "https://x/y"}, "git_ca_file": "EMPTY"}, ["vessel.git_ca_file: "]),
    ],
)
def test_a_wrong_configuration_ends_with_78(tmp_path: Path, vessel: dict[str, Any], expected: list[str]) -> None:
    (tmp_path / "empty").write_text("")
    if vessel.get("git_ca_file") == "EMPTY":
        vessel = {**vessel, "git_ca_file": str(tmp_path / "empty")}
    file = tmp_path / "vessel.yaml"
    file.write_text(yaml.safe_dump({"v": 1, "vessel": vessel}))
    commands = [["--check-config"], []] + ([["status"]] if "colour" in vessel else [])
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "vessel", *command, "--config", str(file)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 78, (command, done.stderr)
        for text in expected:
            assert text in done.stderr
