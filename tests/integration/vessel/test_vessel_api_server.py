"""The API server goes away and comes back; a Secret that is refused is never shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.site_in_a_box.gitrepos import GitRepo
from tests.site_in_a_box.kube_site import KubeSite
from tests.site_in_a_box.vessel_process import VesselProcess


async def test_it_outlives_the_api_server(
    make_kube_site: Callable[..., KubeSite], kube_binaries: Path, tmp_path: Path
) -> None:
    site = await asyncio.to_thread(make_kube_site, "restarted", controllers=False)
    repo = GitRepo(tmp_path)
    maps = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {size: 'ONE'}\n"
    repo.commit({"apps/web/app.yaml": "v: 1\nowner: team\n", "apps/web/m.yaml": maps.replace("ONE", "1")}, "first")
    vessel = VesselProcess(
        tmp_path / "nuc", kubeconfig=site.kubeconfig, kubectl=kube_binaries / "kubectl", atlas={"url": repo.url}
    )
    vessel.start()
    try:
        await vessel.wait_report(app="*", phase="healthy")
        await asyncio.to_thread(site.kill_apiserver)
        second = repo.commit({"apps/web/m.yaml": maps.replace("ONE", "2")}, "while it is down")
        await asyncio.sleep(13)  # past the lease's renew deadline
        assert vessel.program.running
        assert {report["phase"] for report in vessel.reports(revision=second)} <= {"checking"}
        await asyncio.to_thread(site.start_apiserver)
        await vessel.wait_report(app="*", phase="healthy", revision=second, seconds=60)
        site.kubectl("patch", "configmap", "settings", "-p", '{"data":{"size":"9"}}')
        probe = ("get", "configmap", "settings", "-o", "jsonpath={.data.size}")
        await vessel.wait(lambda: site.kubectl(*probe) == "2", "watches are open again", seconds=15)
    finally:
        await asyncio.to_thread(vessel.stop)
    assert vessel.program.returncode == 0


async def test_a_refused_secret_is_not_shown(slate: Any) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    bad = [
        {**secret, "data": {"password": "not-base64-hunter2"}},
        {**secret, "data": {"password": {"nested": "hunter2"}}},
        {**secret, "stringData": {"password": ["hunter2"]}},
        {**secret, "type": "kubernetes.io/tls", "stringData": {"tls.crt": "hunter2"}},
        {**secret, "stringData": {"password": "hunter2"}, "hunter": "field", "immutable": "hunter2"},
    ]
    base = {"apps/web/app.yaml": slate.app(), "apps/web/ns.yaml": slate.namespace()}
    slate.repo.commit(base, "first")
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy")
    for number, body in enumerate(bad):
        revision = slate.repo.commit({"apps/web/s.yaml": yaml.safe_dump(body)}, f"bad {number}")
        report = await vessel.wait_report(app="*", phase="refused", revision=revision)
        assert any("apps/web/s.yaml" in problem for problem in report["problems"]), report
    for text in (vessel.program.log.read_text(), str(vessel.outbox())):
        assert "hunter2" not in text
    known = b"".join(path.read_bytes() for path in vessel.state.glob("*.json"))
    assert b"hunter2" not in known


async def test_drift_is_undone_after_each_restart_of_the_api_server(
    make_kube_site: Callable[..., KubeSite], kube_binaries: Path, tmp_path: Path
) -> None:
    """A server that has just started answers 403 until it has read its roles, to the watches too."""
    site = await asyncio.to_thread(make_kube_site, "restarts", controllers=False)
    repo = GitRepo(tmp_path)
    maps = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {size: '1'}\n"
    repo.commit({"apps/web/app.yaml": "v: 1\nowner: team\n", "apps/web/m.yaml": maps}, "first")
    vessel = VesselProcess(
        tmp_path / "nuc", kubeconfig=site.kubeconfig, kubectl=kube_binaries / "kubectl", atlas={"url": repo.url}
    )
    vessel.start()
    try:
        await vessel.wait_report(app="*", phase="healthy")
        for turn in range(3):
            await asyncio.to_thread(site.kill_apiserver)
            await asyncio.to_thread(site.start_apiserver)
            site.kubectl("patch", "configmap", "settings", "-p", f'{{"data":{{"size":"9{turn}"}}}}')
            probe = ("get", "configmap", "settings", "-o", "jsonpath={.data.size}")
            await vessel.wait(lambda probe=probe: site.kubectl(*probe) == "1", "undone", seconds=20)  # type: ignore[misc]
    finally:
        await asyncio.to_thread(vessel.stop)
    assert vessel.program.returncode == 0
