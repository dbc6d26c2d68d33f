"""The Kubernetes step against a real API server: no object is left, whatever interrupts a run."""

import asyncio
import json
import time

import pytest

from agents.io.clock import SystemClock
from agents.io.kube import Kube
from synthetic_client.scenario import Kubernetes
from synthetic_client.steps.kubernetes import KubernetesRunner
from synthetic_client.tally import Kind, StepFailed

CLOCK = SystemClock()
LABEL = "app.kubernetes.io/managed-by=galley-synthetic-client"


def runner_for(kubeconfig, namespace, **options):
    step = Kubernetes(name="api", namespace=namespace, timeout_seconds=options.get("timeout_seconds", 5.0))

    async def connect():
        kube = await Kube.connect(kubeconfig=kubeconfig, user_agent="test")
        return options.get("wrap", lambda inner: inner)(kube)

    return KubernetesRunner(step, "scenario", connect, CLOCK)


def objects(site, namespace):
    found = site.kubectl("get", "configmaps", "-n", namespace, "-l", LABEL, "-o", "json")
    return [item["metadata"]["name"] for item in json.loads(found)["items"]]


async def failed(runner):
    with pytest.raises(StepFailed) as caught:
        async with asyncio.timeout(15):
            await runner.run()
    return caught.value


async def test_writes_reads_and_deletes(kube_site, kube_namespace):
    runner = runner_for(kube_site.kubeconfig, kube_namespace)
    try:
        assert 0 < await runner.run() < 10
        assert 0 < await runner.run() < 10
    finally:
        await runner.aclose()
    assert objects(kube_site, kube_namespace) == []


async def test_what_a_killed_run_left_is_removed_and_only_that(kube_site, kube_namespace):
    for name, labels in (
        ("left-1", {"app.kubernetes.io/managed-by": "galley-synthetic-client", "synthetic.galley/step": "api"}),
        ("other-step", {"app.kubernetes.io/managed-by": "galley-synthetic-client", "synthetic.galley/step": "db"}),
        ("not-ours", {"app": "till"}),
    ):
        kube_site.kubectl("create", "configmap", name, "-n", kube_namespace)
        kube_site.kubectl("label", "configmap", name, "-n", kube_namespace, *(f"{k}={v}" for k, v in labels.items()))
    runner = runner_for(kube_site.kubeconfig, kube_namespace)
    try:
        await runner.run()
    finally:
        await runner.aclose()
    assert objects(kube_site, kube_namespace) == ["other-step"]
    assert "not-ours" in kube_site.kubectl("get", "configmaps", "-n", kube_namespace)


class HangsAfterWrite:
    """The API as it is when the line breaks between the write and the read."""

    def __init__(self, kube):
        self.kube = kube
        self.broken = True

    async def request(self, method, path, **options):
        if self.broken and method == "GET" and "synthetic-api" in path:
            self.broken = False
            await asyncio.sleep(60)
        return await self.kube.request(method, path, **options)

    async def aclose(self):
        await self.kube.aclose()


async def test_a_run_that_was_cut_off_is_cleaned_up_by_the_next(kube_site, kube_namespace):
    runner = runner_for(kube_site.kubeconfig, kube_namespace, wrap=HangsAfterWrite)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await runner.run()
        assert len(objects(kube_site, kube_namespace)) == 1
        await runner.run()
        assert objects(kube_site, kube_namespace) == []
    finally:
        await runner.aclose()


async def test_closing_removes_what_the_last_run_left(kube_site, kube_namespace):
    runner = runner_for(kube_site.kubeconfig, kube_namespace, wrap=HangsAfterWrite)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await runner.run()
    await runner.aclose()
    assert objects(kube_site, kube_namespace) == []


async def test_no_rights_no_namespace_no_kubeconfig_each_have_their_kind(kube_site, kube_namespace, tmp_path):
    nobody = runner_for(kube_site.kubeconfig_for("nobody"), kube_namespace)
    gone = runner_for(kube_site.kubeconfig, "no-such-namespace")
    none = runner_for(tmp_path / "none", kube_namespace)
    try:
        assert (await failed(nobody)).kind is Kind.DENIED
        error = await failed(gone)
        assert error.kind is Kind.STATUS and "no-such-namespace" in str(error)
        assert (await failed(none)).kind is Kind.WAITING
    finally:
        for runner in (nobody, gone, none):
            await runner.aclose()


async def test_an_api_server_that_is_down_and_comes_back(make_kube_site):
    site = await asyncio.to_thread(make_kube_site, "down", controllers=False)
    runner = runner_for(site.kubeconfig, "default")
    try:
        assert await runner.run() > 0
        await asyncio.to_thread(site.kill_apiserver)
        assert (await failed(runner)).kind is Kind.CONNECT
        await asyncio.to_thread(site.start_apiserver)
        deadline = time.monotonic() + 20
        while True:
            try:
                assert await runner.run() > 0
                break
            except StepFailed:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)
        assert objects(site, "default") == []
    finally:
        await runner.aclose()
