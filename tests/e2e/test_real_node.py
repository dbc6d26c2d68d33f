"""A real kubelet and containerd, an image made here, and the heartbeat DaemonSet of `kubectl apply -k manifests/`.

The beats reach a real endpoint, with a token from a real Edge Commander's socket; where the pod goes, the unit beats.
"""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest

from images.containers import build
from tests.site_in_a_box.endpoint import Endpoint
from tests.site_in_a_box.kube_site import KubeSite
from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.process import Program
from tests.site_in_a_box.real_node import RealNode, hierarchies

ROOT = Path(__file__).resolve().parents[2]
SITE, NAME, HARDWARE_ID = "store-00077", "nuc-real", "SN-REAL-NODE-1"
HEARTBEAT_UID = 771
INTERVAL = 1.0

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def images():
    return build.ensure()


@pytest.fixture
def folder():
    """Short, as unix sockets' paths are bounded, and on a disk, as overlays cannot stack on every file system."""
    place = Path(tempfile.mkdtemp(prefix="galley-real-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def galley_yaml(cloud, health_port):
    """The node's configuration, as pod and unit both read it."""
    return {
        "v": 1,
        "node": {"machine": "file:/etc/galley/machine.json"},
        "endpoint": {"urls": [cloud.url], "issuer": cloud.issuer, "ca_file": "/etc/galley/ca.pem"},
        "heartbeat": {
            "interval_seconds": INTERVAL,
            "pod": "expected",
            "health": {"bind": "127.0.0.1", "port": health_port},
        },
    }


def commander(node, cloud, code):
    """Edge Commander of the node, on this machine; its socket lies in what the pod sees as /run/galley."""
    (node.folder / "code").write_text(code)
    (node.folder / "code").chmod(0o600)
    config = {
        "v": 1,
        "node": {
            "machine": f"file:{node.folder}/etc/machine.json",
            "state_dir": f"{node.folder}/commander",
            "run_dir": f"{node.folder}/run",
        },
        "endpoint": {"urls": [cloud.url], "issuer": cloud.issuer, "ca_file": str(cloud.ca_file)},
        "edge_commander": {
            "health": {"port": 0},
            "keys_dir": f"{node.folder}/ident",
            "enrol_code_file": f"{node.folder}/code",
            "distribution": {"kind": "existing", "kubeconfig": str(node.plane.kubeconfig)},
            "enrol_seconds": 1.0,
            "socket_roles": ["heartbeat"],  # for the unit, which runs as our own user here
        },
    }
    (node.folder / "ident").mkdir(mode=0o700)
    (node.folder / "commander.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "edge_commander", "--config", node.folder / "commander.yaml"]
    return Program("edge-commander", command, log=node.folder / "commander.log")


def lay_out(node, cloud):
    facts = {
        "hardware_id": HARDWARE_ID,
        "serial": HARDWARE_ID,
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "hostname": NAME,
        "hardware": "NUC",
    }
    (node.folder / "etc/machine.json").write_text(json.dumps(facts))
    (node.folder / "etc/galley.yaml").write_text(json.dumps(galley_yaml(cloud, free_port())))
    shutil.copy(cloud.ca_file, node.folder / "etc/ca.pem")
    for part, uid in {"vessel": 770, "heartbeat": HEARTBEAT_UID, "synthetic-client": 772}.items():
        (node.folder / "state" / part).mkdir(mode=0o700)
        shutil.chown(node.folder / "state" / part, uid, uid)


def unit(node, cloud):
    """The unit's heartbeat on the state directory that the pod has mounted."""
    config = galley_yaml(cloud, free_port())
    config["node"] = {
        "machine": f"file:{node.folder}/etc/machine.json",
        "state_dir": f"{node.folder}/state",
        "run_dir": f"{node.folder}/run",
    }
    config["endpoint"]["ca_file"] = str(cloud.ca_file)
    config["heartbeat"]["identity_socket"] = f"{node.folder}/run/identity-heartbeat.sock"
    (node.folder / "unit.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "heartbeat", "--config", node.folder / "unit.yaml"]
    return Program("heartbeat-unit", command, log=node.folder / "unit.log")


async def beat_of(operator):
    """The node's last beat, as the cloud has it."""
    nodes = await operator.call("GET", f"/v1/fleet/nodes?site={SITE}", scope="fleet:read")
    return next((node["beat"] for node in nodes if node.get("beat")), None)


async def wait_for(condition, seconds, explain):
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, await asyncio.to_thread(explain)
        await asyncio.sleep(0.5)
    return found


async def test_the_daemonset_beats_from_a_real_kubelet(images, kubelet, etcd, kube_binaries, folder, tmp_path):
    cloud = Endpoint(tmp_path / "cloud")
    site = KubeSite(SITE, tmp_path, etcd, binaries=kube_binaries)
    node = RealNode(NAME, site, kubelet=kubelet, images=images, pause=build.PAUSE, folder=folder)
    programs = []
    try:
        await asyncio.gather(asyncio.to_thread(cloud.start), asyncio.to_thread(site.up))
        lay_out(node, cloud)
        async with cloud.operator() as operator:
            await operator.put_site(SITE)
            code = await operator.ship(HARDWARE_ID, SITE, NAME)
            programs.append(commander(node, cloud, code))
            programs[0].start()
            await asyncio.to_thread(node.up)
            await asyncio.to_thread(site.kubectl, "apply", "-k", str(ROOT / "manifests"))

            async def beats_as_pod():
                beat = await beat_of(operator)
                return beat if beat and beat["via"] == "pod" else None

            def explain():
                pods = site.kubectl("describe", "pods", "-n", "galley-system", "-l", "app.kubernetes.io/name=heartbeat")
                return f"{pods}\n{node.logs()}\n{programs[0].log_tail()}"

            beat = await wait_for(beats_as_pod, 120, explain)
            assert beat["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
            pods = json.loads(site.kubectl("get", "pods", "-n", "galley-system", "-o", "json"))["items"]
            (pod,) = [pod for pod in pods if pod["metadata"]["name"].startswith("heartbeat")]
            assert pod["spec"]["nodeName"] == NAME
            assert pod["status"]["containerStatuses"][0]["image"].endswith(build.agents_name().split("/", 1)[1])
            assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
            assert (folder / "state/heartbeat/outbox.db").stat().st_uid == HEARTBEAT_UID
            later = await wait_for(lambda: newer(operator, beat), 20, explain)
            assert later["via"] == "pod"

            programs.append(unit(node, cloud))
            programs[1].start()
            await asyncio.to_thread(programs[1].wait_ready, lambda: stands_by(programs[1]), seconds=20)
            await asyncio.to_thread(site.kubectl, "delete", "daemonset/heartbeat", "-n", "galley-system")
            await wait_for(lambda: beats_as_unit(operator), 40, programs[1].log_tail)
    finally:
        for program in programs:
            await asyncio.to_thread(program.stop)
        await asyncio.to_thread(node.down)
        await asyncio.to_thread(site.down)
        await asyncio.to_thread(cloud.stop)
    assert not [place for place in hierarchies() if (place / node.cgroup).exists()]
    assert str(folder) not in Path("/proc/self/mounts").read_text()


def stands_by(program):
    return "the unit stands by" in program.log.read_text()


async def beats_as_unit(operator):
    beat = await beat_of(operator)
    return beat["via"] == "unit"


async def newer(operator, beat):
    found = await beat_of(operator)
    return found if found and found["up"] > beat["up"] else None
