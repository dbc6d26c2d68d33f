"""The section `edge_commander.distribution.k3s` of galley.yaml. Pure."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

import msgspec

from agents.core.settings import Positive
from edge_commander.distribution.k3s import reference

AbsolutePath = Annotated[str, msgspec.Meta(pattern=r"^/[^\x00-\x1f ]*\Z", description="must be an absolute path")]
_LABEL = r"[a-zA-Z0-9]([-_./a-zA-Z0-9]{0,251}[a-zA-Z0-9])?"
Label = Annotated[
    str,
    msgspec.Meta(pattern=rf"^{_LABEL}=({_LABEL})?\Z", description="must be key=value"),
]
Taint = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^{_LABEL}(=({_LABEL})?)?:(NoSchedule|PreferNoSchedule|NoExecute)\Z",
        description="must be key=value:effect, the effect NoSchedule, PreferNoSchedule or NoExecute",
    ),
]
San = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9a-zA-Z*][-.:0-9a-zA-Z]*\Z", description="must be a name or an address")
]
Cidr = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}\Z",
        description="must be an IPv4 network such as 10.42.0.0/16",
    ),
]
Registry = Annotated[
    str, msgspec.Meta(pattern=r"^(\*|[-.a-zA-Z0-9]+(:[0-9]+)?)\Z", description="must be a registry's host, or *")
]
Endpoint = Annotated[
    str, msgspec.Meta(pattern=r"^https?://[^\s@]+\Z", description="must be an address without a password")
]
Part = Literal["coredns", "servicelb", "traefik", "local-storage", "metrics-server"]


class K3sSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`distribution.k3s:`, read where `kind: k3s`. Every time in s. All servers of a site need the same values.

    `binary`, `killall`: k3s and its k3s-killall.sh, from the image; `binary` must be on a file system that can be
    written where upgrades are to work. `upgrade_dir`: holds `<version>/k3s`, and further image archives beside it.
    `images_dir`: image archives (`*.tar`, `*.tar.zst`, ...) that are copied to k3s before its first start.
    `snapshot_dir`: snapshots of etcd and, apart, what is needed to restore them (secret); it must outlive a wipe.
    `disable`: packaged parts that are not deployed. `labels`, `taints`: of this Node at its first registration.
    `flannel_backend`: `none` where the Atlas brings its own network (Calico); then k3s' policy controller is off too.
    `mirrors`: registry to the addresses that are tried before it; `registry_ca`: host of such an address to a PEM file.
    `share_images`: nodes give images to each other (k3s' embedded registry); registries need an entry in `mirrors`.
    """

    binary: AbsolutePath = reference.name("binary")
    killall: AbsolutePath = reference.name("killall")
    upgrade_dir: AbsolutePath = "/var/lib/galley-k3s"
    images_dir: AbsolutePath | None = None
    snapshot_dir: AbsolutePath = "/var/lib/galley-keep/k3s"
    snapshot_cron: Annotated[str, msgspec.Meta(pattern=r"^\S+( \S+){4}\Z", description="must be a cron line")] = (
        "0 */12 * * *"
    )
    snapshot_keep: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    disable: list[Part] = msgspec.field(default_factory=lambda: ["traefik", "servicelb"])
    labels: list[Label] = []
    taints: list[Taint] = []
    tls_sans: list[San] = []
    cluster_cidr: Cidr = "10.42.0.0/16"
    service_cidr: Cidr = "10.43.0.0/16"
    flannel_backend: Literal["vxlan", "host-gw", "wireguard-native", "none"] = "vxlan"
    secrets_encryption: bool = True
    mirrors: dict[Registry, list[Endpoint]] = {}
    registry_ca: dict[Registry, AbsolutePath] = {}
    share_images: bool = False
    start_seconds: Positive = 300.0
    command_seconds: Positive = 120.0
    restore_seconds: Positive = 900.0


def problems(settings: K3sSettings, path: str) -> list[str]:
    """What is wrong with values that are right one by one, or that no pattern says; each with its path."""
    found, networks = [], {}
    for name, text in (("cluster_cidr", settings.cluster_cidr), ("service_cidr", settings.service_cidr)):
        try:
            networks[name] = ipaddress.IPv4Network(text)
        except ValueError:
            found.append(f"{path}.{name}: {text} is no IPv4 network")
    if len(networks) == 2 and networks["cluster_cidr"].overlaps(networks["service_cidr"]):
        found.append(f"{path}.service_cidr: overlaps cluster_cidr")
    if settings.share_images and not settings.mirrors:
        found.append(f"{path}.share_images: needs the registries to share in mirrors")
    hosts = {_host(address) for addresses in settings.mirrors.values() for address in addresses} | set(settings.mirrors)
    found += [f"{path}.registry_ca: no mirror is at {host}" for host in settings.registry_ca if host not in hosts]
    return found


def _host(address: str) -> str:
    return address.partition("://")[2].partition("/")[0]
