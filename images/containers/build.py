"""`make images`: the agents' image and pause, as one OCI image layout in the cache; says how nodes import it, and its
path as the last line.

Kept outside the repository, keyed by what goes in: `$GALLEY_CACHE` (default `~/.cache/galley`). The base layer is made
anew when packages or the lock file change, the suite's layer when the suite does. Needs root.
"""

from __future__ import annotations

import fcntl
import hashlib
import platform
import shutil
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from images.containers import rootfs
from images.containers.oci import EPOCH, Image, Layer, read_layer, write_layer, write_layout
from tests.site_in_a_box.kube_build import cache_root

RECIPE = "1"  # one more whenever a tree is made in another way
KEPT = 3
EXPECTED_SECONDS = 120
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}
PAUSE = "localhost/galley/pause:1"


def agents_name() -> str:
    """The agents' image, as the manifests name it and a container runtime completes it."""
    version = tomllib.loads((rootfs.ROOT / "pyproject.toml").read_text())["project"]["version"]
    return f"docker.io/galley/agents:{version}"


def ensure() -> Path:
    """The tar of the OCI layout with both images, built where it is missing."""
    cache = cache_root() / "images"
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"agents-{_key_of_all()}.tar"
    if target.exists():
        return target
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _build(cache, target)
    return target


def _build(cache: Path, target: Path) -> None:
    started = time.monotonic()
    print(f"building the container images (expected: {EXPECTED_SECONDS} s, less when the base is there)", flush=True)
    for left in [*cache.glob("*.new"), *cache.glob("*.tree.tmp*")]:
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    base_tree = cache / f"base-{_base_key()}.tree"
    base = _layer(cache, f"base-{_base_key()}", rootfs.make_base, keep=True)
    suite = _layer(cache, f"suite-{_suite_key()}", lambda tree: rootfs.make_suite(tree, base_tree))
    pause = _layer(cache, f"pause-{_pause_key()}", lambda tree: rootfs.make_pause(tree, cache_root()))
    agents = Image(
        agents_name(),
        [base, suite],
        {
            "Env": ["PATH=/opt/galley/bin:/usr/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
            "Cmd": ["heartbeat"],
            "User": f"{rootfs.USERS['heartbeat']}:{rootfs.USERS['heartbeat']}",
            "WorkingDir": "/",
        },
    )
    images = [agents, Image(PAUSE, [pause], {"Entrypoint": ["/pause"], "User": "65535:65535"})]
    write_layout(images, target, ARCHITECTURE.get(platform.machine(), platform.machine()))
    _forget(cache)
    size = target.stat().st_size / 1e6
    print(f"{agents_name()} and {PAUSE}: {size:.0f} MB packed, {time.monotonic() - started:.0f} s", flush=True)


def _forget(cache: Path) -> None:
    """Keeps the newest few of what changes with every commit."""
    for pattern in ("agents-*.tar", "suite-*.tar.gz"):
        for old in sorted(cache.glob(pattern), key=lambda file: file.stat().st_mtime)[:-KEPT]:
            old.unlink()


def _layer(cache: Path, name: str, make: Callable[[Path], None], *, keep: bool = False) -> Layer:
    """The packed layer; its tree is only kept where later builds need it."""
    target, tree = cache / f"{name}.tar.gz", cache / f"{name}.tree"
    if target.exists() and (tree.is_dir() or not keep):
        return read_layer(target)
    new = cache / f"{name}.tree.tmp"
    make(new)
    layer = write_layer(new, target)
    if keep:
        new.rename(tree)
    else:
        shutil.rmtree(new)
    return layer


def _hash(*parts: str | Path) -> str:
    digest = hashlib.sha256(f"{RECIPE} {EPOCH} {platform.machine()}".encode())
    for part in parts:
        if isinstance(part, Path):
            digest.update(f"\0{part.relative_to(rootfs.ROOT)}\0".encode() + part.read_bytes())
        else:
            digest.update(f"\0{part}".encode())
    return digest.hexdigest()[:16]


def _base_key() -> str:
    return _hash(rootfs.SUITE, *rootfs.PACKAGES, *rootfs.UNUSED, rootfs.ROOT / "requirements.lock")


def _suite_key() -> str:
    files = sorted(
        file
        for part in rootfs.PARTS
        for file in (rootfs.ROOT / part).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    )
    return _hash(_base_key(), rootfs.ROOT / "pyproject.toml", *files)


def _pause_key() -> str:
    return _hash(*sorted((Path(__file__).parent / "pause").iterdir()))


def _key_of_all() -> str:
    return _hash(_base_key(), _suite_key(), _pause_key(), Path(__file__), Path(__file__).with_name("oci.py"))


def told(file: Path) -> str:
    """What was made and how a node takes it in; the last line is the path alone, for scripts."""
    return "\n".join(
        [
            f"an OCI image layout as one tar, with {agents_name()} and {PAUSE}.",
            f"On every node: ctr -n k8s.io images import {file}",
            str(file),
        ]
    )


if __name__ == "__main__":
    print(told(ensure()))
