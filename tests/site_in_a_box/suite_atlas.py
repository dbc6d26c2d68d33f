"""An Atlas that holds the suite's own pods: heartbeat, the synthetic client, their policies; and an app of its image.

The objects are those of manifests/. What the test's hosts lack is said in their place: Service addresses (no
kube-proxy), so the synthetic client is told its node's own API server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from images.containers.build import agents_name

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
NAMESPACE = "galley-system"
FILES = ("namespace.yaml", "heartbeat.yaml", "synthetic-client.yaml", "network-policies.yaml")
API: tuple[dict[str, Any], ...] = (
    {"name": "KUBERNETES_SERVICE_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
    {"name": "KUBERNETES_SERVICE_PORT", "value": "6443"},
)
SCENARIO: dict[str, Any] = {
    "v": 1,
    "scenario": "site",
    "interval_seconds": 5,
    "report_seconds": 10,
    "steps": [
        {"name": "api", "type": "kubernetes", "namespace": "galley-synthetic", "timeout_seconds": 5},
        {"name": "cloud", "type": "cloud", "timeout_seconds": 5},
    ],
}
"""That of manifests/, oftener."""

TILL: tuple[dict[str, Any], ...] = (
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "till"}},
    {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "till"},
        "spec": {
            "selector": {"matchLabels": {"app": "till"}},
            "template": {
                "metadata": {"labels": {"app": "till"}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [
                        {
                            "name": "till",
                            "image": agents_name(),
                            "imagePullPolicy": "Never",
                            "command": ["/usr/bin/python3", "-m", "http.server", "8080", "-d", "/usr/share"],
                            "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1},
                        }
                    ],
                },
            },
        },
    },
)


def files(greeting: str) -> dict[str, str]:
    """Path to content: `apps/suite` and `apps/till`, whose ConfigMap `card` holds the greeting."""
    card = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "card"}, "data": {"greeting": greeting}}
    return {
        "apps/suite/app.yaml": yaml.safe_dump({"v": 1, "owner": "platform", "namespace": NAMESPACE}),
        "apps/suite/all.yaml": yaml.safe_dump_all(suite()),
        "apps/till/app.yaml": yaml.safe_dump({"v": 1, "owner": "tills", "namespace": "till", "stage": 1}),
        "apps/till/all.yaml": yaml.safe_dump_all(TILL),
        "apps/till/card.yaml": yaml.safe_dump(card),
    }


def suite() -> list[dict[str, Any]]:
    """The objects of manifests/ that an Atlas holds: Vessel itself, and its namespace, came with the site."""
    found = [one for name in FILES for one in yaml.safe_load_all((MANIFESTS / name).read_text())]
    found = [one for one in found if (one["kind"], one["metadata"]["name"]) != ("Namespace", NAMESPACE)]
    for one in found:
        if one["kind"] == "ConfigMap":
            one["data"]["scenario.yaml"] = yaml.safe_dump(SCENARIO)
        if one["kind"] in ("DaemonSet", "Deployment"):
            (container,) = one["spec"]["template"]["spec"]["containers"]
            container["image"] = agents_name()
            if one["metadata"]["name"] == "synthetic-client":
                container["env"] += API
    return found
