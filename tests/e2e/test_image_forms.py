"""Three boxes with the NUC image, upstream Kubernetes in it, become one cluster: set up by their esp alone.

A site in which one of the three is a machine in QEMU: test_image_site.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from images.containers.control_plane import PAUSE
from images.nuc.build import Built
from tests.site_in_a_box.image_site import NUMBERS, ImageSite, formed
from tests.site_in_a_box.lan import address

SECONDS = 400.0
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def site(kube_image: Built) -> Iterator[ImageSite]:
    with formed(kube_image) as site:
        site.commit(atlas())
        site.power_on()
        yield site


def atlas() -> dict[str, str]:
    """A pod on each node, of the one image that every node has."""
    pod = {"containers": [{"name": "till", "image": PAUSE, "imagePullPolicy": "Never"}]}
    labels = {"app": "till"}
    till = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "till"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "till"}}
    return {
        "apps/till/app.yaml": "v: 1\nowner: tills\nnamespace: till\ntimeout_seconds: 600\n",
        "apps/till/all.yaml": yaml.safe_dump_all([namespace, till]),
    }


def test_they_form_one_cluster(site: ImageSite) -> None:
    took = site.wait(site.ready, SECONDS, "every node is ready")
    print(f"every node is ready {took:.0f} s after the last boot")
    assert site.nodes_ready() == dict.fromkeys(site.names, True)
    assert sorted(site.etcd_members()) == site.names
    for host in site.hosts:
        assert not host.run("systemctl", "--failed", "--no-legend", "--plain").strip()
        assert "erofs ro" in host.run("findmnt", "-rno", "FSTYPE,OPTIONS", "/")


def test_the_atlas_runs_on_all_three(site: ImageSite) -> None:
    def places() -> set[str]:
        said = site.kubectl("get", "pods", "-n", "till", "-o", "json") or '{"items": []}'
        pods = json.loads(said)["items"]
        return {one["spec"]["nodeName"] for one in pods if one["status"].get("phase") == "Running"}

    site.wait(lambda: places() == set(site.names), SECONDS, "the Atlas' pod runs on every node")


ASK = """
import socket, ssl, sys
context = ssl._create_unverified_context()
said = b""
try:
    with context.wrap_socket(socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)) as link:
        link.sendall(f"GET {sys.argv[3]} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n".encode())
        while piece := link.recv(4096):
            said += piece
except OSError as error:
    print(type(error).__name__)
print(said.decode(errors="replace").partition("\\r\\n")[0])
"""


def test_a_foreign_machine_with_the_same_image_gets_into_no_part_of_it(site: ImageSite) -> None:
    """It was never shipped, and has the settings and the code of one that was."""
    stranger = site.host(4, code=(site.hosts[0].esp / "galley/enrol-code").read_text())
    stranger.boot()

    def ask(number: int, port: int, path: str) -> str:
        return stranger.run("/opt/galley/bin/python3", "-I", "-c", ASK, address(number), str(port), path).strip()

    for number in NUMBERS:
        assert "HTTP/" not in ask(number, 9411, "/v1/secrets")
        assert ask(number, 10250, "/pods").startswith("HTTP/1.1 401")
        assert ask(number, 6443, "/api/v1/nodes").split()[:2] in (["HTTP/1.1", "401"], ["HTTP/1.1", "403"])
        for port in (2379, 2380):
            assert "HTTP/" not in ask(number, port, "/version")
    assert set(site.nodes_ready()) == set(site.names)
    assert not stranger.path("/etc/kubernetes/pki/ca.crt").exists()
    assert list(site.states()) == sorted(site.names)
