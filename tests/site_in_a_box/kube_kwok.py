"""KWOK plays a site's nodes: it keeps their Leases, and makes their pods run, complete and go.

Only nodes with the label PLAYED are played, so a real kubelet's node can stand beside them. Taking the
label away is how a node dies here: its Lease runs out, the controller-manager finds it gone, and nobody
has written a status by hand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.site_in_a_box.kube_build import STAGES
from tests.site_in_a_box.kube_control_plane import ControlPlane
from tests.site_in_a_box.process import Program

PLAYED = "galley.test/played-by"
READY_SECONDS = 60
# KWOK's own stages make only Pending pods ready. The controller-manager marks the pods of a lost node
# not ready, and a kubelet that returns marks them ready again; so does this stage.
READY_AGAIN = {
    "apiVersion": "kwok.x-k8s.io/v1alpha1",
    "kind": "Stage",
    "metadata": {"name": "pod-ready-again"},
    "spec": {
        "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
        "selector": {
            "matchExpressions": [
                {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
                {"key": ".status.phase", "operator": "In", "values": ["Running"]},
                {
                    "key": '.status.conditions.[] | select( .type == "Ready" ) | .status',
                    "operator": "In",
                    "values": ["False", "Unknown"],
                },
            ]
        },
        "next": {
            "statusTemplate": "{{ $now := Now }}\n"
            "conditions:\n"
            "- lastTransitionTime: {{ $now | Quote }}\n"
            '  status: "True"\n'
            "  type: Ready\n"
        },
    },
}


class Kwok:
    """The kwok process of one site, playing `nodes` (their names)."""

    def __init__(self, plane: ControlPlane, nodes: Sequence[str], *, lease_seconds: int = 40) -> None:
        self.nodes = list(nodes)
        self._plane = plane
        again = plane.folder / "pod-ready-again.json"
        again.write_text(json.dumps(READY_AGAIN))
        stages = [*sorted((plane.binaries / STAGES).glob("*.yaml")), again]
        kubeconfig = plane.kubeconfig_for("kwok", ["system:masters"])
        self.program = Program(
            "kwok",
            [
                plane.binaries / "kwok",
                f"--kubeconfig={kubeconfig}",
                f"--manage-nodes-with-label-selector={PLAYED}=kwok",
                "--manage-all-nodes=false",
                f"--node-lease-duration-seconds={lease_seconds}",
                *(f"--config={stage}" for stage in stages),
            ],
            log=plane.folder / "kwok.log",
            # kwok reads ~/.kwok/kwok.yaml when there is one; it must not find somebody's.
            env={"PATH": "/usr/bin:/bin", "HOME": str(plane.folder)},
        )

    def start(self) -> None:
        """Makes the Node objects, starts kwok, and waits until all nodes are Ready."""
        for node in self.nodes:
            self.add_node(node)
        self.program.start()
        self.wait_nodes_ready()

    def wait_nodes_ready(self) -> None:
        """Waits until each of the nodes is Ready. StartError after READY_SECONDS."""
        self.program.wait_ready(
            lambda: all(self.node_status(node) == "True" for node in self.nodes),
            seconds=READY_SECONDS,
            what="with all nodes Ready",
        )

    def add_node(self, name: str) -> None:
        """Makes a Node object that kwok plays."""
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {**labels, PLAYED: "kwok"},
                "annotations": {"kwok.x-k8s.io/node": "fake"},
            },
        }
        self._plane.kubectl("create", "-f", "-", stdin=json.dumps(node))

    def lose_node(self, name: str) -> None:
        """Kills the simulated node: nobody renews its Lease or plays its pods from now on."""
        self._plane.kubectl("label", "node", name, f"{PLAYED}-")

    def return_node(self, name: str) -> None:
        """Lets the simulated node come back."""
        self._plane.kubectl("label", "node", name, f"{PLAYED}=kwok", "--overwrite")

    def node_status(self, name: str) -> str:
        """The status of the node's Ready condition (True, False, Unknown), empty when it has none."""
        path = '{.status.conditions[?(@.type=="Ready")].status}'
        return self._plane.kubectl("get", "node", name, "-o", f"jsonpath={path}")
