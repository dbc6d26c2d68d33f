"""The contract of Distribution against a real k3s, on this machine, as root: one server, from nothing to nothing.

K3S names the program; k3s-killall.sh lies beside it. Nothing is done where there is a k3s already. Images come from
K3S_IMAGES, a directory of archives, or by k3s' own means from the Internet.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agents.core.errors import Rejected
from agents.io.clock import SystemClock
from agents.io.kube import Kube
from edge_commander.distribution.k3s import reference
from edge_commander.distribution.k3s.api import Etcd
from edge_commander.distribution.k3s.distribution import K3s
from edge_commander.distribution.k3s.host import Host
from edge_commander.distribution.k3s.settings import K3sSettings
from edge_commander.distribution.k3s.versions import said
from edge_commander.distribution.port import ClusterPlan
from tests.integration.commander.test_k3s_etcd import secrets

PROGRAM = Path(os.environ["K3S"])
UNIT = Path("/etc/systemd/system/k3s.service")
BINARY, KILLALL = Path("/usr/local/bin/k3s"), Path("/usr/local/bin/k3s-killall.sh")
SITE, NODE = "store-00001", "nuc-1"
MAPS = "/api/v1/namespaces/default/configmaps"
SECONDS = 1800

pytestmark = pytest.mark.timeout(SECONDS)


def run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=300, check=True).stdout


def fails(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, timeout=90, check=False).returncode != 0


def address() -> str:
    """The machine's own on its LAN. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def plan(epoch: int = 1) -> ClusterPlan:
    made = secrets(SITE, epoch)
    return ClusterPlan(site=SITE, epoch=epoch, node=NODE, address=address(), secrets=made)


async def connect(kubeconfig: Path | None) -> Any:
    return await Kube.connect(kubeconfig=kubeconfig, user_agent="edge-commander")


@pytest.fixture
async def k3s(tmp_path: Path) -> AsyncIterator[K3s]:
    places = (UNIT, BINARY, Path(reference.path("data")), Path(reference.path("etc")))
    there = [str(path) for path in places if path.exists()]
    if os.geteuid() != 0 or there:
        pytest.fail(f"needs root, and a machine without k3s; here is {there}")
    shutil.copy(PROGRAM, BINARY)
    shutil.copy(PROGRAM.with_name("k3s-killall.sh"), KILLALL)
    shutil.copy(Path(__file__).with_name("k3s.service"), UNIT)
    run("systemctl", "daemon-reload")
    settings = K3sSettings(snapshot_dir=str(tmp_path / "snapshots"), images_dir=os.environ.get("K3S_IMAGES"))
    made = K3s(settings, tmp_path / "ident" / "k3s.json", connect, SystemClock(), told=print)
    (tmp_path / "ident").mkdir()
    try:
        yield made
    finally:
        await made.reset()
        await made.aclose()
        for path in (BINARY, KILLALL, UNIT):
            path.unlink()
        run("systemctl", "daemon-reload")


async def config_map(name: str) -> None:
    kube = await connect(Path(reference.path("kubeconfig")))
    try:
        await kube.request("POST", MAPS, body={"metadata": {"name": name}})
    finally:
        await kube.aclose()


async def config_maps() -> set[str]:
    kube = await connect(Path(reference.path("kubeconfig")))
    try:
        return {one["metadata"]["name"] for one in (await kube.request("GET", MAPS))["items"]}
    finally:
        await kube.aclose()


def test_every_flag_and_command_of_the_reference_is_there() -> None:
    helped = run(str(PROGRAM), "server", "--help")
    assert [flag for flag in reference.REFERENCE.flags if f"--{flag}" not in helped] == []
    assert "--name" in run(str(PROGRAM), *reference.command("snapshot-save"), "--help")
    assert run(str(PROGRAM), *reference.command("certificate-rotate"), "--help")
    assert said(run(str(PROGRAM), *reference.command("version")))


async def test_from_nothing_to_nothing(k3s: K3s, tmp_path: Path) -> None:
    assert not (await k3s.health()).api
    await k3s.init(plan())
    assert (await k3s.health()).api
    (member,) = await k3s.members()
    assert (member.name, member.ready, member.server) == (NODE, True, True)
    (etcd_member,) = await Etcd(Host(K3sSettings()).place).members()
    assert etcd_member.name.startswith(f"{NODE}-") and not etcd_member.learner
    placed = Path(reference.path("server-ca-cert")).read_text()
    await k3s.init(plan())
    with pytest.raises(Rejected, match="of epoch 1, not of epoch 2"):
        await k3s.init(plan(2))
    with pytest.raises(Rejected, match="this node itself"):
        await k3s.remove(NODE)

    await no_second_cluster(k3s)

    await config_map("before")
    path = await k3s.snapshot("nightly")
    assert await k3s.snapshot("nightly") == path
    await config_map("after")
    await k3s.restore(path, plan(2))
    assert {"before"} <= await config_maps() and "after" not in await config_maps()
    assert Path(reference.path("server-ca-cert")).read_text() == placed

    leaf = Path(reference.path("etcd-client-cert")).read_bytes()
    await k3s.rotate()
    assert Path(reference.path("etcd-client-cert")).read_bytes() != leaf
    assert Path(reference.path("server-ca-cert")).read_text() == placed
    assert {"before"} <= await config_maps()

    version = (await k3s.members())[0].version
    await k3s.upgrade(version)
    await k3s.reset()
    assert not Path(reference.path("data")).exists() and not Path(reference.path("etc")).exists()
    assert run("systemctl", "show", "--property=ActiveState", "k3s.service").strip() != "ActiveState=active"


async def no_second_cluster(k3s: K3s) -> None:
    """k3k#836, with a real k3s: its etcd is put aside, and neither systemd, nor we, nor k3s itself begins another."""
    etcd, aside = Path(reference.path("wal")).parents[1], Path(reference.path("data")) / "aside"
    run("systemctl", "stop", "k3s")
    etcd.rename(aside)
    assert fails("systemctl", "start", "k3s") and not etcd.exists()
    with pytest.raises(Rejected, match="its etcd is gone"):
        await k3s.init(plan())
    assert fails("timeout", "40", str(BINARY), "server") and not Path(reference.path("wal")).exists()
    shutil.rmtree(etcd, ignore_errors=True)
    aside.rename(etcd)
    await k3s.init(plan())
    assert (await k3s.health()).api
