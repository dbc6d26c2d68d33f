"""Which programs of a Kubernetes the builder wants in the image, and where they lie there. Touches the folders named.

None is in it otherwise: the image holds what every site needs, and the builder decides which Kubernetes that is.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from images.nuc.chroot import BuildError

UPSTREAM = ("kubeadm", "kubelet", "etcd", "etcdctl", "etcdutl")
"""What `distribution.kubeadm.programs` holds by version; kubectl is for Vessel's kustomize besides."""
IMAGES = "*airgap-images*"


@dataclass(frozen=True)
class Programs:
    """(Source, target below the image's root) pairs; `key` is one hash of them."""

    files: tuple[tuple[Path, str], ...] = ()
    key: str = ""


NONE = Programs()


def programs(kube: Path | None, k3s: Path | None) -> Programs:
    """What was asked for. Raises BuildError where a program is missing."""
    files: list[tuple[Path, str]] = []
    if kube is not None:
        version = _version(kube / "kubeadm")
        files += [(kube / name, f"opt/kubernetes/{version}/{name}") for name in UPSTREAM]
        files.append((kube / "kubectl", "usr/bin/kubectl"))
    if k3s is not None:
        files.append((k3s, "usr/bin/k3s"))
        files += [(one, f"usr/share/galley/k3s-images/{one.name}") for one in sorted(k3s.parent.glob(IMAGES))]
    if not files:
        return NONE
    missing = [str(source) for source, _ in files if not source.is_file()]
    if missing:
        raise BuildError(f"not there, so not to be copied in: {', '.join(missing)}")
    digest = hashlib.sha256()
    for source, target in files:
        with source.open("rb") as stream:
            digest.update(f"{target} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return Programs(tuple(files), digest.hexdigest())


def _version(kubeadm: Path) -> str:
    try:
        done = subprocess.run(
            [kubeadm, "version", "-o", "short"], capture_output=True, text=True, check=False, timeout=60
        )
    except OSError as error:
        raise BuildError(f"{kubeadm}: {error.strerror}") from None
    found = re.fullmatch(r"v(\d+\.\d+\.\d+)", done.stdout.strip())
    if found is None:
        raise BuildError(f"{kubeadm}: does not say its version")
    return found[1]
