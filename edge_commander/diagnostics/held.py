"""The secrets that this node holds, read to know what must not come out. Touches their files; keeps memory alone.

What is no plain file, too large, or cannot be read is passed over, and counted: a bundle says so.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from edge_commander.settings import CommanderSettings

MAX_FILE = 256 * 1024
MAX_FILES = 2000
FIELDS = frozenset(
    {
        "d",
        "key",
        "token",
        "password",
        "passphrase",
        "secret",
        "psk",
        "service_account_key",
        "service_account_next",
        "private",
        "client_secret",
        "access_token",
        "refresh_token",
        "api_key",
    }
)
_CONFIGS = frozenset({".yaml", ".yml", ".conf", ".kubeconfig"})
_CONFIG = re.compile(rb"(?m)^\s*-?\s*[\"']?(?:client-key-data|token|password|agent-token)[\"']?:\s*[\"']?([^\s\"']+)")


@dataclass
class Held:
    """`values`: of the secrets. `files`: which files they lie in, by device and inode: none of them goes into a bundle.
    `passed_over`: how many could not be read."""

    values: list[bytes] = field(default_factory=list, repr=False)
    files: set[tuple[int, int]] = field(default_factory=set)
    passed_over: int = 0


def places(own: CommanderSettings, state_dir: Path) -> list[tuple[str, str]]:
    """Folder and pattern (as `Path.glob` has it) of every file that holds a secret, on a node of any kind."""
    kubeadm, k3s = own.distribution.kubeadm, own.distribution.k3s
    rancher, kubelet, kubernetes = "/var/lib/rancher/k3s", "/var/lib/kubelet", "/etc/kubernetes"
    named = [own.enrol_code_file] if own.enrol_code_file else []
    return [
        *((str(Path(one).parent), Path(one).name) for one in named),
        (own.keys_dir, "*-keys.json*"),
        (f"{state_dir}/edge-commander", "site-secrets*"),
        (f"{state_dir}/vessel", "*ssh*"),
        ("/etc/galley", "**/*[!l]"),  # all but *.yaml: what the configuration names by path
        (kubernetes, "**/*.key"),
        (kubernetes, "**/*.conf"),
        (kubelet, "pki/*.pem"),
        (kubelet, "*kubeconfig*"),
        (kubeadm.run_dir, "**/*"),
        (own.distribution.access_dir, "**/*"),
        (f"{rancher}/server", "*token*"),
        (f"{rancher}/server", "tls/**/*.key"),
        (f"{rancher}/server", "cred/*"),
        (f"{rancher}/agent", "*.key"),
        (f"{rancher}/agent", "*.kubeconfig"),
        ("/etc/rancher", "**/*"),
        (k3s.snapshot_dir, "**/*secret*"),
        (k3s.snapshot_dir, "**/*token*"),
    ]


def read(own: CommanderSettings, state_dir: Path) -> Held:
    """All of them."""
    held = Held()
    for file in _files(own, state_dir, held):
        try:
            data = _content(file, held)
        except OSError:
            held.passed_over += 1
            continue
        held.values += values(data, config=file.suffix in _CONFIGS)
    return held


def values(data: bytes, *, config: bool = False) -> list[bytes]:
    """What of a file's content is secret. `config`: only what stands under telling names."""
    try:
        return list(_leaves(msgspec.json.decode(data), ""))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        pass
    found = [match[1] for match in _CONFIG.finditer(data)]
    if found or config:  # of a kubeconfig these alone: the rest is addresses and certificates
        return [*found, *(part for one in found for part in _decoded(one))]
    text = data.strip()
    return [text, text.rpartition(b":")[2]] if b"\n" not in text else [text]


def _decoded(value: bytes) -> Iterator[bytes]:
    import base64

    try:
        yield base64.b64decode(value, validate=True)
    except ValueError:
        return


def _leaves(value: Any, name: str) -> Iterator[bytes]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, name)
    elif isinstance(value, str) and (name.lower() in FIELDS or "PRIVATE KEY" in value):
        yield value.encode()


def _files(own: CommanderSettings, state_dir: Path, held: Held) -> Iterator[Path]:
    seen = 0
    for folder, pattern in places(own, state_dir):
        try:
            for file in Path(folder).glob(pattern):
                if file.is_symlink() or not file.is_file():
                    continue
                seen += 1
                if seen > MAX_FILES:
                    held.passed_over += 1
                    return
                yield file
        except OSError:
            held.passed_over += 1


def _content(file: Path, held: Held) -> bytes:
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("not a file")
        held.files.add((found.st_dev, found.st_ino))
        if found.st_size > MAX_FILE:
            raise OSError("too large")
        return stream.read(MAX_FILE)
