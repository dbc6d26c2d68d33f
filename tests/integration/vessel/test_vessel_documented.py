"""What docs/operations.md tells a person to do with Vessel: removing a whole app, looking at a site, preparing one."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def vessel_command(*arguments: object) -> tuple[int, str]:
    """Exit status and output of a subcommand."""
    command = [sys.executable, "-m", "vessel", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


async def test_a_whole_app_is_removed_by_leaving_its_app_yaml_with_the_word(slate: Any) -> None:
    base = {"apps/base/app.yaml": slate.app(stage=-1), "apps/base/ns.yaml": slate.namespace()}
    web = {"apps/web/app.yaml": slate.app(), "apps/web/m.yaml": slate.config_map("m", n="1")}
    first = slate.repo.commit({**base, **web}, "both")
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy", revision=first)

    held = slate.repo.commit(dict.fromkeys(web), "directory gone: no place for the word")
    report = await vessel.wait_report(app="web", phase="prune-held", revision=held)
    assert any(held in problem for problem in report["problems"])

    word = slate.repo.commit({"apps/web/app.yaml": slate.app(approve={"prune": held})}, "back, with the word")
    await vessel.wait_report(app="*", phase="healthy", revision=word)
    assert slate.names() == set()

    last = slate.repo.commit({"apps/web/app.yaml": None}, "gone for good")
    await vessel.wait_report(app="*", phase="healthy", revision=last)
    status, said = vessel_command("status", "--config", vessel.config, "--output", "json")
    assert status == 0, said
    document = json.loads(said)
    assert document["applied"] == document["healthy"] == last
    assert "web" not in document["apps"]


async def test_a_cluster_is_prepared_by_its_administrator(slate: Any) -> None:
    more = ("--user", "somebody", "--account", f"{slate.ns}/deployer", "--print")
    status, said = vessel_command("bootstrap", *more)
    assert status == 0
    items = json.loads(said)["items"]
    assert {"Namespace", "Role", "RoleBinding", "ServiceAccount"} <= {item["kind"] for item in items}
    assert any(item["metadata"].get("namespace") == slate.ns for item in items)
    assert vessel_command("bootstrap", "--account", "no-slash")[0] == 2
