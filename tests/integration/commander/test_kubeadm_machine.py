"""kubeadm's adapters with real files and programs: bounded runs, durable files, the marker, one at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from agents.core.errors import Rejected, Retryable
from agents.io.clock import SystemClock
from edge_commander.distribution.choice import make, make_unprivileged
from edge_commander.distribution.kubeadm.certs import client
from edge_commander.distribution.kubeadm.cluster import KubeadmCluster
from edge_commander.distribution.kubeadm.machine import Machine
from edge_commander.distribution.kubeadm.settings import KubeadmSettings
from edge_commander.distribution.kubeadm.steps import Marker
from edge_commander.distribution.kubeadm.world import NodeWorld
from edge_commander.distribution.port import ClusterPlan
from edge_commander.secrets.authority import public_half
from edge_commander.settings import DistributionSettings
from tests.site_in_a_box import site_secrets


async def never(kubeconfig):
    raise AssertionError("nothing is to be asked")


@pytest.fixture
def settings(tmp_path):
    return KubeadmSettings(
        programs=f"{tmp_path}/opt", state_dir=f"{tmp_path}/state", run_dir=f"{tmp_path}/run",
        snapshots_dir=f"{tmp_path}/keep",
    )  # fmt: skip


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_program_that_takes_too_long_ends_with_its_children(tmp_path):
    note = tmp_path / "pid"
    with pytest.raises(Retryable, match="sh took longer than 2 s"):
        await Machine().run("/bin/sh", "-c", f"sleep 60 & echo $! > {note}; wait", seconds=1.5)
    assert not runs(int(note.read_text()))


def test_a_program_does_not_outlive_us(tmp_path):
    note = tmp_path / "pid"
    script = (
        "import asyncio; from edge_commander.distribution.kubeadm.machine import Machine; "
        f"asyncio.run(Machine().run('/bin/sh', '-c', 'echo $$ > {note}; exec sleep 60', seconds=60))"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    eventually(lambda: note.exists() and note.read_text().strip())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    eventually(lambda: not runs(int(note.read_text())))


def eventually(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def test_a_failure_is_quoted_without_secrets(tmp_path):
    script = tmp_path / "kubeadm"
    script.write_text("echo token abcdef.0123456789abcdef >&2; exit 3")
    with pytest.raises(Retryable) as failed:
        await Machine().run("/bin/sh", str(script), seconds=5)
    assert str(failed.value) == f"sh {script} failed with status 3: token (hidden)"
    with pytest.raises(Retryable, match="status 127"):
        await Machine().run("/nowhere/kubeadm", seconds=5)


async def test_files_links_and_trees(tmp_path):
    machine = Machine()
    await machine.write(f"{tmp_path}/a/b", b"x", 0o640)
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o640
    await machine.link(f"{tmp_path}/current", "1.36.2")
    await machine.link(f"{tmp_path}/current", "1.36.3")
    (tmp_path / "1.36.3").mkdir()
    (tmp_path / "1.36.3/kubeadm").touch()
    assert await machine.versions(str(tmp_path)) == ("1.36.3", ["1.36.3"])
    for _ in range(2):
        await machine.remove(f"{tmp_path}/a")
        await machine.rename(f"{tmp_path}/nothing", f"{tmp_path}/else")
    assert not (tmp_path / "a").exists()


async def test_the_marker_is_durable_and_a_corrupt_one_stops_all_but_a_reset(settings):
    world = NodeWorld(settings, never)
    marker = Marker(site="store-1", epoch=1, node="n1", address="10.0.0.1", role="init")
    await world.mark(marker)
    assert NodeWorld(settings, never).marker() == marker
    Path(settings.state_dir, "cluster.json").write_text("{")
    broken = NodeWorld(settings, never)
    with pytest.raises(Rejected, match=r"cluster\.json: was corrupt"):
        broken.marker()
    assert broken.marker(needed=False) is None
    await world.mark(None)


async def test_one_operation_at_a_time(settings):
    one, other = KubeadmCluster(settings, never), KubeadmCluster(settings, never)
    async with one._alone():
        with pytest.raises(Retryable, match="another operation is under way"):
            await other.remove("n2")
    with pytest.raises(Rejected, match="not a member"):
        await other.remove("n2")


async def test_without_programs_nothing_begins(settings):
    plan = ClusterPlan(site="store-1", epoch=1, node="n1", address="10.0.0.1", secrets=site_secrets.make("store-1"))
    for operation in (KubeadmCluster(settings, never).init, KubeadmCluster(settings, never).join):
        with pytest.raises(Rejected, match="programs are not on this node"):
            await operation(plan)
    assert not Path(settings.state_dir, "cluster.json").exists()


def test_a_client_certificate_is_the_authoritys_and_short(tmp_path):
    secrets = site_secrets.make("store-1")
    made = client(secrets.cluster, "galley", "system:masters")
    (tmp_path / "ca").write_text(secrets.cluster.cert)
    (tmp_path / "cert").write_text(made.cert)
    shown = subprocess.run(["openssl", "verify", "-CAfile", tmp_path / "ca", tmp_path / "cert"], capture_output=True)
    assert shown.returncode == 0, shown.stderr
    ends = ["openssl", "x509", "-noout", "-checkend", "7300", "-in", tmp_path / "cert"]
    assert subprocess.run(ends, capture_output=True).returncode == 1
    assert public_half(secrets.service_account_key).startswith("-----BEGIN PUBLIC KEY-----")
    with pytest.raises(Rejected, match="service_account_key"):
        public_half("x")
    assert made.key not in repr(made)


def test_the_settings_choose_the_implementation(tmp_path):
    for kind in ("existing", "kubeadm", "k3s"):
        settings = DistributionSettings(kind=kind)
        assert make(settings, tmp_path, SystemClock()).name == kind
        assert make_unprivileged(settings, tmp_path).name == kind


def test_the_command_refuses_a_plan_that_others_may_read(tmp_path, settings):
    plan = ClusterPlan(site="store-1", epoch=1, node="n1", address="10.0.0.1", secrets=site_secrets.make("store-1"))
    file, config = tmp_path / "plan.json", tmp_path / "galley.yaml"
    file.write_bytes(msgspec.json.encode(plan))
    document = {
        "v": 1,
        "edge_commander": {"distribution": {"kind": "kubeadm", "kubeadm": msgspec.to_builtins(settings)}},
    }
    config.write_text(json.dumps(document))

    def asked(*arguments):
        command = [sys.executable, "-m", "edge_commander.distribution.run", *arguments, "--config", str(config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)

    open_to_all = asked("init", "--plan", str(file))
    assert open_to_all.returncode == 1 and "may be read by others" in open_to_all.stderr
    file.chmod(0o600)
    private = asked("init", "--plan", str(file))
    assert private.returncode == 1 and "programs are not on this node" in private.stderr
    assert asked("remove").returncode == 2
    blank = asked("reset")
    assert (blank.returncode, blank.stdout, blank.stderr) == (0, "null\n", "")
