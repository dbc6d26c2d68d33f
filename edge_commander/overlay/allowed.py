"""Which paths of /etc may differ from the image. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

BUILT_IN = (
    "machine-id",
    "hostname",
    "hosts",
    "resolv.conf",
    "adjtime",
    "localtime",
    "timezone",
    "mtab",
    ".updated",
    ".pwd.lock",
    "ssh/ssh_host_*_key",
    "ssh/ssh_host_*_key.pub",
    "galley/",
    "systemd/network/",
    "systemd/timesyncd.conf.d/",
    "kubernetes/",
    "rancher/",
    "cni/net.d/",
    "containerd/certs.d/",
    "systemd/system/kubelet.service.d/",
    "systemd/system/kubelet.service",
    "systemd/system/k3s.service",
    "systemd/system/k3s.service.d/",
    "systemd/system/*.wants/kubelet.service",
    "systemd/system/*.wants/k3s.service",
)
"""What a node is (names, keys, time, network), and what forms its cluster: kubeadm, k3s and CNI plugins write there."""

WELL_FORMED = r"^(?!/)(?!.*//)(?!(.*/)?\.\.?(/|$))[^\x00-\x1f]{1,255}\Z"
"""A pattern: a path relative to /etc; `*` stands for any characters but `/`; with `/` at its end, all below too."""


def _expression(pattern: str) -> str:
    plain = re.escape(pattern.rstrip("/")).replace(r"\*", "[^/]*")
    return f"{plain}(/.*)?" if pattern.endswith("/") else plain


class Allowed:
    """`patterns` are allowed besides those built in."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        every = [*BUILT_IN, *patterns]
        ways = [pattern.rstrip("/").split("/") for pattern in every]
        self._all = re.compile("|".join(map(_expression, every)), re.DOTALL)
        up = sorted({"/".join(way[:end]) for way in ways for end in range(1, len(way))})
        self._up = re.compile("|".join(map(_expression, up)), re.DOTALL)

    def covers(self, path: str) -> bool:
        """Whether the path may differ."""
        return self._all.fullmatch(path) is not None

    def leads(self, path: str) -> bool:
        """Whether the path is a directory on the way to some that may differ: it may be made for them."""
        return self._up.fullmatch(path) is not None
