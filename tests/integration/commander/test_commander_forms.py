"""Forming on an existing cluster, with a real API server: ready, and what it says when the API goes and comes."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.kube_site import KubeSite

SITE = "store-04567"
PSS_MB = 52.0


async def test_from_factory_to_ready_and_through_an_api_server_that_dies(
    tmp_path: Path,
    endpoint: Endpoint,
    operator: EndpointClient,
    commanders: Callable[..., Any],
    make_kube_site: Callable[..., KubeSite],
) -> None:
    site = make_kube_site(SITE, controllers=False)
    await operator.put_site(SITE)
    code = await operator.ship("NUC-4001", SITE, "nuc-a")
    commander = commanders(tmp_path, endpoint, "NUC-4001")
    (tmp_path / "code").write_text(code)
    commander.start()
    commander.wait(lambda: commander.why == "waiting: a person (distribution)")  # no kubeconfig yet
    (tmp_path / "kubeconfig").write_text(site.kubeconfig.read_text())
    commander.wait(lambda: commander.why == "waiting: member")
    site.kubectl("apply", "--server-side", "-f", "-", stdin=NODE)
    commander.wait(lambda: commander.why == "waiting: node ready")
    assert commander.state == "forming"
    site.kubectl("patch", "node", "nuc-a", "--subresource=status", "--type=merge", "-p", READY)
    commander.wait(lambda: commander.state == "ready" and not commander.why)

    status, shown = await commander.ask("/v1/status", "vessel")
    assert status == 200 and (shown["state"], shown["reason"], shown["site"]) == ("ready", "", SITE)
    pss = commander.program.pss_bytes() / 1e6
    print(f"commander alone at rest: PSS {pss:.1f} MB")

    site.apiserver.kill()
    commander.wait(lambda: commander.why == "waiting: api")
    assert commander.state == "ready"
    site.apiserver.start()
    commander.wait(lambda: commander.state == "ready" and not commander.why, 60)

    assert await reported(operator, commander.node) == "ready"
    assert pss < PSS_MB * 1.2  # alone, nothing is shared; beside the other daemons it is measured by the benchmark


async def reported(operator: EndpointClient, node: str) -> str:
    """The node's state as the endpoint shows it, once it is ready."""
    shown: Any = None
    for _ in range(150):
        nodes = await operator.call("GET", f"/v1/fleet/nodes?site={SITE}", scope="fleet:read")
        shown = next(one for one in nodes if one["node"] == node)
        if shown["state"] and shown["state"]["state"] == "ready" and not shown["state"]["reason"]:
            return "ready"
        await asyncio.sleep(0.1)
    pytest.fail(f"the endpoint does not show the state: {shown}")


NODE = "apiVersion: v1\nkind: Node\nmetadata:\n  name: nuc-a\n"
READY = (
    '{"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}]}}'
)


def test_status_of_a_commander_that_does_not_run(tmp_path: Path, commanders: Callable[..., Any]) -> None:
    import json
    import subprocess

    commander = commanders(tmp_path, None, "NUC-4002")

    def status(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "edge_commander", "status", "--config", str(commander.config), *arguments],
            capture_output=True, text=True, timeout=30, check=False, env=commander.program.env,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    code, _, error = status()
    assert code == 4 and "state.json" in error
    commander.start()
    commander.wait(lambda: commander.why == "waiting: configuration")
    code, text, _ = status()
    assert code == (0 if os.getuid() == 0 else 3)
    assert "waiting: configuration" in text and "you can" in text
    commander.program.stop()
    code, text, _ = status("--output", "json")
    document = json.loads(text)
    assert code == 3 and document["running"] is False
    assert (document["state"], document["node"]) == ("enrolling", commander.node)
    before = (commander.ident / "state.json").read_bytes()
    status()
    assert (commander.ident / "state.json").read_bytes() == before  # looking changes nothing
