"""What k3s is configured with, out of the plan of a cluster and the settings: config.yaml and registries.yaml. Pure.

`cluster-init` stands in the file only until the cluster is there. Afterwards `server` does, with a sibling's address
or, for want of one, the node's own: k3s ignores both while its etcd is there, and without its etcd it then tries to
join, which fails alone, where `cluster-init`, or neither of the two, would begin a new cluster (docs: ha-embedded;
k3k#836).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import yaml

from edge_commander.distribution.k3s import reference
from edge_commander.distribution.k3s.files import TOKEN, File
from edge_commander.distribution.k3s.reference import flag
from edge_commander.distribution.k3s.settings import K3sSettings
from edge_commander.distribution.port import ClusterPlan

HEAD = "# Made by Edge Commander; changes are undone.\n"
LOOPBACK = "127.0.0.1"
KUBECONFIG_MODE = "0600"


class Way(StrEnum):
    """How k3s is to get its datastore: `init`, `join`, or `reset` (k3s refuses to reset with `server` set)."""

    INIT = "init"
    JOIN = "join"
    RESET = "reset"


def snapshots(settings: K3sSettings) -> str:
    """The directory of etcd's snapshots; k3s takes every file in it for one."""
    return f"{settings.snapshot_dir}/etcd"


def config(plan: ClusterPlan, settings: K3sSettings, way: Way, server: str = "") -> File:
    """config.yaml. `server`: the one to join, for Way.JOIN; empty means the first of the plan, else this node."""
    said: dict[str, Any] = {
        flag("node-name"): plan.node,
        flag("token-file"): TOKEN,
        flag("write-kubeconfig-mode"): KUBECONFIG_MODE,
        flag("secrets-encryption"): settings.secrets_encryption,
        flag("cluster-cidr"): settings.cluster_cidr,
        flag("service-cidr"): settings.service_cidr,
        flag("flannel-backend"): settings.flannel_backend,
        flag("etcd-snapshot-dir"): snapshots(settings),
        flag("etcd-snapshot-schedule-cron"): settings.snapshot_cron,
        flag("etcd-snapshot-retention"): settings.snapshot_keep,
    }
    if plan.address:
        said[flag("node-ip")] = plan.address
    if way is Way.INIT:
        said[flag("cluster-init")] = True
    elif way is Way.JOIN:
        said[flag("server")] = url(server or next(iter(plan.servers), "") or plan.address or LOOPBACK)
    if settings.flannel_backend == "none":
        said[flag("disable-network-policy")] = True
    if settings.share_images:
        said[flag("embedded-registry")] = True
    lists: dict[str, Sequence[str]] = {
        flag("disable"): sorted(set(settings.disable)),
        flag("node-label"): settings.labels,
        flag("node-taint"): settings.taints,
        flag("tls-san"): _sans(plan, settings.tls_sans),
    }
    said |= {key: list(values) for key, values in lists.items() if values}
    return File(reference.path("config"), _yaml(said))


def registries(settings: K3sSettings) -> File | None:
    """registries.yaml, or None where nothing is said of registries."""
    said: dict[str, Any] = {}
    if settings.mirrors:
        said["mirrors"] = {
            registry: {"endpoint": list(addresses)} if addresses else {}
            for registry, addresses in sorted(settings.mirrors.items())
        }
    if settings.registry_ca:
        said["configs"] = {host: {"tls": {"ca_file": file}} for host, file in sorted(settings.registry_ca.items())}
    return File(reference.path("registries"), _yaml(said)) if said else None


def url(host: str) -> str:
    """The address at which a server takes joiners in."""
    return f"https://{f'[{host}]' if _is_ipv6(host) else host}:{reference.name('supervisor-port')}"


def _sans(plan: ClusterPlan, more: Sequence[str]) -> list[str]:
    known = [plan.address, *plan.servers, *more]
    return list(dict.fromkeys(one for one in known if one))


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _yaml(said: dict[str, Any]) -> bytes:
    return (HEAD + yaml.safe_dump(said, sort_keys=True, default_flow_style=False)).encode()
