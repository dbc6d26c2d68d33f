"""The demo on a cluster that exists: what is looked at before, and what is said of it after. Asks by kubectl."""

from __future__ import annotations

from pathlib import Path

from tests.site_in_a_box import kube_build
from tests.site_in_a_box.demo.screen import say
from tests.site_in_a_box.looks import run

NAMESPACES = ("restaurant", "kitchen", "galley-system", "galley-dryrun", "galley-synthetic")


async def check_cluster(kubeconfig: Path) -> None:
    """Says which server will be changed. RuntimeError when it cannot be reached, or a Vessel keeps it already."""
    if not kubeconfig.is_file():
        raise FileNotFoundError(f"KUBECONFIG={kubeconfig}: no such file (one file, not a list)")
    kubectl: list[str | Path] = [kube_build.ensure() / "kubectl", "--kubeconfig", kubeconfig, "--request-timeout=10s"]
    server = await run(*kubectl, "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    found = await run(
        *kubectl, "get", "secrets", "-A", "-o", "name", "--field-selector=metadata.name=vessel-inventory-state"
    )
    if found.strip():
        raise RuntimeError(f"a Vessel keeps the cluster at {server} already: the demo would take its apps over")
    say(f"this demo changes the cluster at {server}: namespaces {', '.join(NAMESPACES)}")


def print_clean_up(kubeconfig: Path) -> None:
    """What stays in the cluster, and the command that removes it."""
    kubectl = f"kubectl --kubeconfig {kubeconfig}"
    say("the demo's objects stay in your cluster; to remove them:")
    say(f"  {kubectl} delete namespace {' '.join(NAMESPACES)}")
    say(f"  {kubectl} delete clusterrolebinding/galley-atlas-admin priorityclass/till")
