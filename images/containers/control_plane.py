"""The images of Kubernetes' control plane, from the programs that `tests/site_in_a_box/kube_build.py` builds, as one
OCI image layout under the names that kubeadm expects. The last line is its path.

Kept in the cache, keyed by what goes in. No registry is asked: nodes import the tar (`ctr -n k8s.io images import`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from images.containers import rootfs
from images.containers.build import ARCHITECTURE
from images.containers.oci import Image, write_layout, write_plain_layer
from tests.site_in_a_box import kube_build, kube_stamp

RECIPE = "2"  # one more whenever an image is made in another way
REGISTRY = "registry.k8s.io"
ETCD_TAG = "3.6.8-0"
PAUSE_TAG = "3.10.2"
PAUSE = f"{REGISTRY}/pause:{PAUSE_TAG}"
"""What kubeadm of this version names (`kubeadm config images list`); a test holds it to that."""
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
EXPECTED_SECONDS = 10


def names(version: str) -> list[str]:
    """The images of that version, by name."""
    return [*(f"{REGISTRY}/{one}:v{version}" for one in COMPONENTS), f"{REGISTRY}/etcd:{ETCD_TAG}", PAUSE]


def ensure(programs: Path, version: str, *, components_only: bool = False) -> Path:
    """The tar with the images of the programs in a folder, built where it is missing. `components_only`: without etcd
    and pause, for an upgrade to a version that shares them."""
    cache = kube_build.cache_root() / "images"
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"control-plane-{version}-{_key(programs, version, components_only)}.tar"
    with (cache / "control-plane.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _build(programs, version, target, components_only)
    return target


def _build(programs: Path, version: str, target: Path, components_only: bool) -> None:
    started = time.monotonic()
    print(f"making the images of Kubernetes {version} (expected: {EXPECTED_SECONDS} s)", flush=True)
    for old in target.parent.glob(f"control-plane-{version}-*"):
        old.unlink()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="control-plane-") as made:
        work = Path(made)
        images = [_image(work, programs, one, f"{one}:v{version}") for one in COMPONENTS]
        if not components_only:
            images.append(_image(work, programs, "etcd", f"etcd:{ETCD_TAG}"))
            rootfs.make_pause(work / "pause", kube_build.cache_root())
            layer = write_plain_layer(work / "pause", work / "pause.tar")
            images.append(Image(PAUSE, [layer], {"Entrypoint": ["/pause"], "User": "65535:65535"}))
        write_layout(images, target, ARCHITECTURE.get(platform.machine(), platform.machine()))
    size = target.stat().st_size / 1e6
    print(f"{', '.join(one.name for one in images)}: {size:.0f} MB, {time.monotonic() - started:.0f} s", flush=True)


def _image(work: Path, programs: Path, program: str, name: str) -> Image:
    tree = work / program
    place = tree / "usr/local/bin" / program
    place.parent.mkdir(parents=True)
    os.link(programs / program, place) if _same_disk(programs, work) else shutil.copy(programs / program, place)
    layer = write_plain_layer(tree, work / f"{program}.tar")
    return Image(f"{REGISTRY}/{name}", [layer], {"Env": ["PATH=/usr/local/bin"], "Entrypoint": [program]})


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def _key(programs: Path, version: str, components_only: bool) -> str:
    digest = hashlib.sha256(f"{RECIPE} {version} {components_only} {platform.machine()} {PAUSE_TAG}".encode())
    for one in (*COMPONENTS, "etcd"):
        if (file := programs / one).exists():
            digest.update(f"{one} {file.stat().st_size} {file.stat().st_mtime_ns} ".encode())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    place = kube_build.ensure(kube_build.EVERYTHING)
    print(ensure(place, kube_stamp.version_of(place / "kubeadm")))
