"""The harness itself, with real programs: sites apart on one etcd, pods that run, faults, no leftovers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.site_in_a_box.kube_audit import CallKind
from tests.site_in_a_box.kube_control_plane import KubectlError
from tests.site_in_a_box.kube_etcd import Etcd
from tests.site_in_a_box.kube_site import KubeSite
from tests.site_in_a_box.process import Program, StartError

REPOSITORY = Path(__file__).resolve().parents[3]
IMAGE = "registry.example/galley/nothing:1"
MakeSite = Callable[..., KubeSite]


def deployment(name: str, replicas: int) -> str:
    labels = {"app": name}
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "main", "image": IMAGE}]},
                },
            },
        }
    )


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has reaped yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


def test_pods_of_a_deployment_run_on_the_sites_nodes(kube_site: KubeSite, kube_namespace: str) -> None:
    kube_site.kubectl("apply", "-n", kube_namespace, "-f", "-", stdin=deployment("web", 3))
    kube_site.wait_available("web", namespace=kube_namespace)
    pods = json.loads(kube_site.kubectl("get", "pods", "-n", kube_namespace, "-o", "json"))["items"]
    assert len(pods) == 3
    assert {pod["spec"]["nodeName"] for pod in pods} == {"nuc-a", "nuc-b", "nuc-c"}
    assert all(pod["status"]["phase"] == "Running" for pod in pods)


def test_a_job_completes_and_a_namespace_goes_with_all_that_is_in_it(kube_site: KubeSite) -> None:
    kube_site.kubectl("create", "namespace", "short-lived")
    kube_site.wait_namespace("short-lived")
    kube_site.kubectl("create", "job", "once", "--image", IMAGE, "-n", "short-lived")
    kube_site.kubectl("wait", "job/once", "--for=condition=Complete", "-n", "short-lived", "--timeout=60s")
    kube_site.kubectl("delete", "namespace", "short-lived", "--timeout=60s", timeout=70)
    with pytest.raises(KubectlError, match="not found"):
        kube_site.kubectl("get", "namespace", "short-lived")


def test_two_sites_on_one_etcd_do_not_see_each_other(make_kube_site: MakeSite) -> None:
    first = make_kube_site("store-00002", controllers=False)
    second = make_kube_site("store-00003", controllers=False)
    first.kubectl("create", "configmap", "menu", "--from-literal=dish=herring")
    assert "herring" in first.kubectl("get", "configmap", "menu", "-o", "yaml")
    with pytest.raises(KubectlError, match="not found"):
        second.kubectl("get", "configmap", "menu")
    with pytest.raises(KubectlError, match=r"certificate|x509|Unauthorized|logged in"):
        second.kubectl("get", "configmaps", f"--server={second.url}", kubeconfig=_pointed(first, second))


def _pointed(first: KubeSite, second: KubeSite) -> Path:
    """The first site's administrator, told to go to the second."""
    config = json.loads(first.kubeconfig.read_text())
    config["clusters"] = json.loads(second.kubeconfig.read_text())["clusters"]
    file = first.folder / "astray.kubeconfig"
    file.write_text(json.dumps(config))
    return file


def test_what_is_stored_survives_a_kill_of_the_api_server(make_kube_site: MakeSite) -> None:
    site = make_kube_site("store-00004", controllers=False)
    site.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    before = site.apiserver.pid
    site.kill_apiserver()
    assert not alive(before)
    assert site.get_status("/readyz") == 0
    site.start_apiserver()
    assert site.apiserver.pid != before
    assert "kept" in site.kubectl("get", "configmap", "kept", "-o", "name")


def test_a_users_calls_are_counted_by_verb_and_resource(kube_site: KubeSite, kube_namespace: str) -> None:
    kube_site.kubectl("create", "rolebinding", "cook", "--clusterrole=edit", "--user=cook", "-n", kube_namespace)
    cook = kube_site.kubeconfig_for("cook", ["kitchen"])
    mark = kube_site.audit_mark()
    ns = ["-n", kube_namespace]
    kube_site.kubectl("create", "configmap", "one", *ns, kubeconfig=cook)
    kube_site.kubectl("create", "configmap", "two", *ns, "--dry-run=server", kubeconfig=cook)
    kube_site.kubectl("get", "deployments", *ns, kubeconfig=cook)
    with pytest.raises(KubectlError, match=r"cook.*cannot list resource"):
        kube_site.kubectl("get", "secrets", "-n", "kube-system", kubeconfig=cook)
    counts = kube_site.audit_counts(since=mark, user="cook")
    assert counts[CallKind("cook", "create", "configmaps")] == 2
    assert counts[CallKind("cook", "list", "deployments.apps")] == 1
    creates = [call for call in kube_site.audit_calls(since=mark, user="cook") if call.verb == "create"]
    assert [(call.name, call.dry_run, call.code) for call in creates] == [("one", False, 201), ("two", True, 201)]
    refused = [call for call in kube_site.audit_calls(since=mark, user="cook") if call.code == 403]
    assert {(call.resource, call.namespace) for call in refused} == {("secrets", "kube-system")}


def test_a_watch_counts_once_and_when_it_begins(kube_site: KubeSite, kube_namespace: str) -> None:
    mark = kube_site.audit_mark()
    with pytest.raises(subprocess.TimeoutExpired):
        kube_site.kubectl("get", "configmaps", "-n", kube_namespace, "--watch-only", timeout=2)

    def watches() -> int:
        counts = kube_site.audit_counts(since=mark, user="admin")
        return counts[CallKind("admin", "watch", "configmaps")]

    wait_until(lambda: watches() == 1, 10, "the watch in the audit log")


def test_a_lost_node_is_noticed_by_the_cluster_and_returns(make_kube_site: MakeSite) -> None:
    site = make_kube_site("store-00005", nodes=["nuc-a", "nuc-b"], node_grace_seconds=8)
    assert site.kwok is not None
    site.kubectl("apply", "-f", "-", stdin=deployment("web", 2))
    site.wait_available("web")
    site.kwok.lose_node("nuc-b")
    wait_until(lambda: site.kwok.node_status("nuc-b") == "Unknown", 40, "nuc-b unknown")  # type: ignore[union-attr]
    assert site.kwok.node_status("nuc-a") == "True"
    site.kwok.return_node("nuc-b")
    site.kwok.wait_nodes_ready()
    site.wait_available("web")


async def test_a_site_starts_in_an_event_loop_and_leaves_no_process(
    kube_binaries: Path, tmp_path: Path, etcd: Etcd
) -> None:
    async with KubeSite("store-00006", tmp_path, etcd, nodes=["nuc-a"], binaries=kube_binaries) as site:
        pids = [program.pid for program in site.programs]
        assert len(pids) == 4
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)


def test_programs_outlive_the_thread_that_asked_for_them(tmp_path: Path) -> None:
    program = Program("sleep", ["sleep", "60"], log=tmp_path / "sleep.log")
    asking = threading.Thread(target=program.start)
    asking.start()
    asking.join(10)
    time.sleep(0.3)
    assert program.running
    program.stop()
    assert program.returncode == -signal.SIGTERM


CHILD = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in a shell's background
from tests.site_in_a_box.kube_etcd import Etcd
from tests.site_in_a_box.kube_site import KubeSite
binaries, folder = Path(sys.argv[1]), Path(sys.argv[2])
with Etcd(binaries, folder) as etcd, KubeSite("orphan", folder, etcd, nodes=["nuc-a"], binaries=binaries) as site:
    print(*(p.pid for p in [etcd.program, *site.programs]), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_is_left_however_the_starter_ends(end: signal.Signals, kube_binaries: Path, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, kube_binaries, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the traceback of KeyboardInterrupt
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        assert child.stdout is not None
        pids = [int(pid) for pid in child.stdout.readline().split()]
        assert len(pids) == 5
        assert all(alive(pid) for pid in pids)
        child.send_signal(end)
        child.wait(20)
        wait_until(lambda: not any(alive(pid) for pid in pids), 10, f"{pids} gone")
    finally:
        child.kill()
        child.wait(10)
        assert child.stdout is not None
        child.stdout.close()


def test_a_program_that_cannot_start_shows_its_log(make_kube_site: MakeSite) -> None:
    site = make_kube_site("store-00007", controllers=False)
    site.kill_apiserver()
    site.apiserver.command.append("--no-such-flag")
    with pytest.raises(StartError, match="unknown flag: --no-such-flag"):
        site.start_apiserver()
