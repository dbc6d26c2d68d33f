"""Which Kubernetes the builder wants in the image, and where it lies there. Touches the folders named.

None is in it otherwise: the image holds what every site needs, and the builder decides which Kubernetes that is. With
upstream programs comes what starts them: the files below `kubernetes/`, containerd's configuration, and the version.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edge_commander.distribution.k3s import versions as k3s_versions
from images.nuc import lists
from images.nuc.chroot import BuildError

UPSTREAM = ("kubeadm", "kubelet", "etcd", "etcdctl", "etcdutl")
"""What `distribution.kubeadm.programs` holds by version; kubectl is for Vessel's kustomize besides."""
VERSION = re.compile(r"v(\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?)", re.ASCII)
"""As `kubeadm version -o short` says it; it becomes a folder's name and a setting."""
AIRGAP = "*airgap-images*"
ARCHIVES = "*images*.tar"
FILES = lists.HERE / "kubernetes"
CONTAINERD = """\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
"""
SETTINGS = """\
# Which Kubernetes this image brings, and where a wipe leaves its snapshots.
edge_commander:
  distribution:
    kubeadm:
      version: {version}
      snapshots_dir: /var/lib/galley-keep/kubernetes
"""


@dataclass(frozen=True)
class Programs:
    """(Source, target below the image's root) pairs, where a source is a file or a text; `key` is one hash of them."""

    files: tuple[tuple[Path | str, str], ...] = ()
    key: str = ""


NONE = Programs()


def programs(kube: Path | None, k3s: Path | None, archives: tuple[Path, ...] = ()) -> Programs:
    """What was asked for. `archives`: of container images, besides those that lie in `kube`. Raises BuildError where a
    program is missing or is none, and where both are named: a node's cluster is of one kind."""
    if kube is not None and k3s is not None:
        raise BuildError("KUBE= and K3S= exclude each other: an image has upstream Kubernetes or k3s")
    files: list[tuple[Path | str, str]] = []
    if kube is not None:
        version = _version(kube / "kubeadm")
        files += [(kube / name, f"opt/kubernetes/{version}/{name}") for name in UPSTREAM]
        files.append((kube / "kubectl", "usr/bin/kubectl"))
        files += [(one, str(one.relative_to(FILES))) for one in sorted(FILES.rglob("*")) if one.is_file()]
        files.append((CONTAINERD.format(pause=_pause(kube / "kubeadm", version)), "etc/containerd/config.toml"))
        files.append((SETTINGS.format(version=version), "etc/galley/galley.d/01-kubernetes.yaml"))
        brought = [*sorted(kube.glob(ARCHIVES)), *archives]
        files += [(one, f"usr/share/galley/kubernetes-images/{one.name}") for one in brought]
    if k3s is not None:
        files.append((k3s, "usr/bin/k3s"))
        files += [(one, f"usr/share/galley/k3s-images/{one.name}") for one in sorted(k3s.parent.glob(AIRGAP))]
    if not files:
        return NONE
    missing = [str(source) for source, _ in files if isinstance(source, Path) and not source.is_file()]
    if missing:
        raise BuildError(f"not there, so not to be copied in: {', '.join(missing)}")
    run = [*((kube / name) for name in (*UPSTREAM, "kubectl") if kube is not None), *([k3s] if k3s is not None else [])]
    if idle := [str(one) for one in run if not os.access(one, os.X_OK)]:
        raise BuildError(f"no programs, as they are not executable: {', '.join(idle)}")
    if k3s is not None and not k3s_versions.said(said := _asked(k3s, "--version")):  # as the node will ask it
        raise BuildError(f"{k3s} says no version of k3s: {said[:80]!r}")
    digest = hashlib.sha256()
    for source, target in files:
        digest.update(f"{target} {_digest(source)}\n".encode())
    return Programs(tuple(files), digest.hexdigest())


def _digest(source: Path | str) -> str:
    if isinstance(source, str):
        return hashlib.sha256(source.encode()).hexdigest()
    with source.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _version(kubeadm: Path) -> str:
    said = _asked(kubeadm, "version", "-o", "short").strip()
    if (found := VERSION.fullmatch(said)) is None:
        raise BuildError(f"{kubeadm} says no version of Kubernetes: {said[:80]!r}")
    return found[1]


def _pause(kubeadm: Path, version: str) -> str:
    """The image of a pod's sandbox, as that kubeadm names it."""
    said = _asked(kubeadm, "config", "images", "list", "--kubernetes-version", f"v{version}")
    found = [one for one in said.split() if one.rpartition(":")[0].endswith("/pause")]
    if not found:
        raise BuildError(f"{kubeadm} names no image of a pod's sandbox")
    return found[0]


def _asked(program: Path, *arguments: str) -> str:
    command = [program, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=60)
    except OSError as error:
        raise BuildError(f"{program}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise BuildError(f"{program} does not end") from None
    if done.returncode != 0:
        raise BuildError(f"{program} {' '.join(arguments)}: {done.stderr[-500:]}")
    return done.stdout
