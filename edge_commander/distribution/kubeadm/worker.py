"""The steps of a worker's `join`: no authority, no etcd, no API server of its own. Pure.

Its kubelet goes by the control plane's name, as kubeadm's discovery file has it; the hosts file makes that the address
of one server. Another one answers as well as that, so a server that is gone is a line in the hosts file, and a restart
of the kubelet, whose connections would wait for the old one for most of a minute.
"""

from __future__ import annotations

from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.kubeadm import config, layout
from edge_commander.distribution.kubeadm.facts import LocalFacts
from edge_commander.distribution.kubeadm.plan import begun, wiped
from edge_commander.distribution.kubeadm.settings import KubeadmSettings
from edge_commander.distribution.kubeadm.steps import (
    Finish,
    Link,
    Mark,
    Marker,
    NameAddress,
    Remove,
    Run,
    Step,
    WaitNode,
    Write,
)
from edge_commander.distribution.port import ClusterPlan, NodeAccess

USER = "galley-worker-join"


def checked(plan: ClusterPlan) -> NodeAccess:
    """The plan's access; Rejected when the plan is not one of a worker."""
    if not plan.address:
        raise Rejected("the plan names no address of this node")
    if plan.access is None or plan.secrets is not None:
        raise Rejected("a worker joins by its own access, and holds no secrets of the site")
    return plan.access


def kubeconfig(server: str, access: NodeAccess) -> bytes:
    """By which the worker asks that server as the node that it is to be."""
    return config.kubeconfig(
        f"https://{server}:{layout.API_PORT}", USER, ca=access.authority, cert=access.kubelet, key=access.key
    )


def join(plan: ClusterPlan, facts: LocalFacts, seed: str, *, named: str, settings: KubeadmSettings) -> list[Step]:
    """The steps; none for a member whose server is well. `seed`: the first server that answers, empty for none;
    `named`: the address that the control plane's name has on this node."""
    access = checked(plan)
    marker = Marker(site=plan.site, epoch=plan.epoch, node=plan.node, address=plan.address, role="worker",
                    version=settings.version)  # fmt: skip
    if facts.marker is not None and facts.marker.role != "worker":
        raise Rejected(f"this node is a server there ({facts.marker.role}): reset it first")
    if not begun(plan, facts, "worker") and settings.version not in facts.versions:
        raise Rejected(f"Kubernetes' programs are not on this node: {settings.programs}/{settings.version}")
    if not seed:
        raise Retryable(f"none of the servers answers: {', '.join(plan.servers) or 'none is known'}")
    if facts.marker is not None and facts.marker.done:
        return [] if named == seed else [NameAddress(settings.endpoint_name, seed), _kubelet("restart")]
    file = f"{settings.state_dir}/join.yaml"
    return [
        Mark(marker),
        Link(f"{settings.programs}/current", settings.version),
        *wiped(settings, half_made=facts.traces),
        NameAddress(plan.node, plan.address),
        NameAddress(settings.endpoint_name, seed),
        Write(f"{config.patches_dir(settings)}/{config.PATCH}", config.kubelet_patch(settings)),
        Write(config.discovery_file(settings), kubeconfig(settings.endpoint_name, access)),
        Write(file, config.worker_documents(plan, settings)),
        Run(f"{settings.programs}/current/kubeadm", ("join", "--config", file), settings.join_seconds),
        Remove(config.discovery_file(settings)),
        WaitNode(plan.node),
        Finish(marker),
    ]


def _kubelet(verb: str) -> Step:
    return Run("systemctl", (verb, "kubelet.service"), 60)
