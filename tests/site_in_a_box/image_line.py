"""A real containerd, and a real registry behind a line: in a network of its own, with no way out of this machine.

    with ImageLine(folder) as line:
        line.publish("kitchen/app", "1", layers=[os.urandom(1 << 20)])
        async with line.root_half(bytes_per_second=1 << 20) as apart:
            await apart.pull(line.name("kitchen/app", "1"))

The registry (Debian's docker-registry, TLS by an authority of its own) listens in a network namespace where the root
half of the distribution runs as well, as on a node; containerd runs apart from this machine's. Needs root.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from edge_commander.distribution.apart import Apart
from tests.site_in_a_box.kube_certs import Authority
from tests.site_in_a_box.process import Program, stop_all

ADDRESS = "198.51.100.10"
PORT = 5443
HOST = f"{ADDRESS}:{PORT}"
PLAIN = f"{ADDRESS}:5080"
"""The same registry without TLS."""
PRIVATE = f"{ADDRESS}:5081"
"""The same again, for those with a password."""
ROOT = Path(__file__).parents[2]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONTAINERD = """
version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-state"
[grpc]
  address = "{folder}/c.sock"
[ttrpc]
  address = "{folder}/c.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "{folder}/cni"
    bin_dir = "{folder}/cni"
"""


class ImageLine:
    """`folder`: short enough for unix sockets. `disk_bytes`: containerd gets a disk of its own of that size."""

    def __init__(self, folder: Path, *, disk_bytes: int = 0) -> None:
        self.folder = folder
        self.disk_bytes = disk_bytes
        self.store = folder / "registry"
        self.certs = folder / "certs.d"
        for part in ("registry", "cni", "opt", "containerd"):
            (folder / part).mkdir(parents=True)
        authority = Authority(folder / "pki", "registry")
        certificate, key = authority.serving("registry", [ADDRESS])
        place = self.certs / HOST
        place.mkdir(parents=True)
        known = f'server = "https://{HOST}"\nca = "{authority.ca_file}"\n[host]\n'
        place.joinpath("hosts.toml").write_text(known)
        for plain in (PLAIN, PRIVATE):
            (self.certs / plain).mkdir()
            (self.certs / plain / "hosts.toml").write_text(f'server = "http://{plain}"\n[host]\n')
        (folder / "passwords").write_text(f"somebody:$2y$05${'x' * 53}\n")
        asks = {"auth": {"htpasswd": {"realm": "x", "path": str(folder / "passwords")}}}
        settings = {
            "tls": self._registry(HOST, tls={"certificate": str(certificate), "key": str(key)}),
            "plain": self._registry(PLAIN),
            "private": {**self._registry(PRIVATE), **asks},
        }
        for kind, one in settings.items():
            (folder / f"{kind}.yaml").write_text(yaml.safe_dump(one))
        (folder / "containerd.toml").write_text(CONTAINERD.format(folder=folder))
        self.net = Program("net", ["unshare", "--net", "sleep", "infinity"], log=folder / "net.log")
        self.containerd = Program(
            "containerd", ["containerd", "--config", folder / "containerd.toml"], log=folder / "containerd.log"
        )
        self.registries: dict[str, Program] = {}

    def _registry(self, address: str, **more: Any) -> dict[str, Any]:
        return {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.store)}, "redirect": {"disable": True}},
            "http": {"addr": address, **more},
        }

    def inside(self, *command: str) -> list[str]:
        """A command in the registry's network."""
        return ["nsenter", f"--net=/proc/{self.net.pid}/ns/net", *command]

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            if self.disk_bytes:
                size = f"size={self.disk_bytes}"
                subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", self.folder / "containerd"], check=True)
            undo.callback(self.down)
            self.net.start()
            own = Path("/proc/self/ns/net").readlink()
            self.net.wait_ready(lambda: Path(f"/proc/{self.net.pid}/ns/net").readlink() != own, seconds=10)
            for words in (
                ["link", "set", "lo", "up", "mtu", "1500", "gso_max_size", "1500"],
                ["address", "add", f"{ADDRESS}/32", "dev", "lo"],
            ):
                subprocess.run(self.inside("ip", *words), check=True)
            counted = ["-A", "OUTPUT", "-s", ADDRESS, "-p", "tcp", "--sport", str(PORT)]
            subprocess.run(self.inside("iptables", *counted), check=True)
            for kind in ("tls", "plain", "private"):
                self.start_registry(kind)
            self.containerd.start()
            self.containerd.wait_ready(lambda: self.ctr("version", check=False).returncode == 0, seconds=30)
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def start_registry(self, kind: str = "tls") -> None:
        """Starts it; returns when it answers."""
        command = self.inside("docker-registry", "serve", str(self.folder / f"{kind}.yaml"))
        one = Program(f"registry {kind}", command, log=self.folder / "registry.log")
        self.registries[kind] = one
        one.start()
        port = {"tls": PORT, "plain": 5080, "private": 5081}[kind]
        probe = self.inside("bash", "-c", f"exec 3<>/dev/tcp/{ADDRESS}/{port}")
        one.wait_ready(
            lambda: subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode == 0, seconds=20
        )

    def cut(self, cut: bool) -> None:
        """Cuts the line to the registry, or mends it: packets are lost, as in a cable that was pulled."""
        lost = ["iptables", "-I" if cut else "-D", "INPUT", "-d", ADDRESS, "-p", "tcp", "-j", "DROP"]
        subprocess.run(self.inside(*lost), check=True)

    def down(self) -> None:
        """Ends all of it."""
        stop_all([*self.registries.values(), self.containerd, self.net])
        if self.disk_bytes:
            subprocess.run(["umount", self.folder / "containerd"], check=True)

    def resize(self, size: int) -> None:
        """Gives containerd's disk another size, in bytes."""
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder / "containerd"], check=True)

    def name(self, repository: str, tag: str = "1", registry: str = HOST) -> str:
        """The image's whole reference."""
        return f"{registry}/{repository}:{tag}"

    def publish(self, repository: str, tag: str, layers: Sequence[bytes]) -> list[str]:
        """Puts an image into the registry's store, each layer a file of these bytes; its layers' digests."""
        blobs, diffs = [], []
        for number, content in enumerate(layers):
            raw = io.BytesIO()
            with tarfile.open(fileobj=raw, mode="w") as tar:
                entry = tarfile.TarInfo(f"file-{number}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            diffs.append(digest(raw.getvalue()))
            blobs.append(gzip.compress(raw.getvalue(), 1, mtime=0))
        config = json.dumps(
            {
                "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": diffs},
            }
        ).encode()
        described = [{"mediaType": LAYER, "digest": digest(blob), "size": len(blob)} for blob in blobs]
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
                "layers": described,
            }
        ).encode()
        place = self.store / "docker/registry/v2/repositories" / repository
        for blob in (config, *blobs, manifest):
            self.blob(digest(blob)).parent.mkdir(parents=True, exist_ok=True)
            self.blob(digest(blob)).write_bytes(blob)
            link(place / "_layers", digest(blob))
        link(place / "_manifests/revisions", digest(manifest))
        link(place / f"_manifests/tags/{tag}/index", digest(manifest))
        current = place / f"_manifests/tags/{tag}/current/link"
        current.parent.mkdir(parents=True, exist_ok=True)
        current.write_text(digest(manifest))
        return [one["digest"] for one in described]

    def blob(self, named: str) -> Path:
        """The file of a blob in the registry's store."""
        found = named.removeprefix("sha256:")
        return self.store / "docker/registry/v2/blobs/sha256" / found[:2] / found / "data"

    def ctr(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """ctr on that containerd."""
        command = ["ctr", "--address", str(self.folder / "c.sock"), "--namespace", "k8s.io", *words]
        return subprocess.run(command, capture_output=True, text=True, check=check)

    def sent(self) -> int:
        """Bytes that the registry has sent so far, by the kernel's count."""
        listed = self.inside("iptables", "-L", "OUTPUT", "-v", "-x", "-n")
        text = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
        return int(next(line for line in text.splitlines() if f"spt:{PORT}" in line).split()[1])

    @contextlib.asynccontextmanager
    async def root_half(self, environ: dict[str, str] | None = None, **prepull: Any) -> AsyncIterator[Apart]:
        """The root half behind a socket, a process for each request as systemd starts them, in the registry's
        network; what asks it."""
        settings = {
            "v": 1,
            "edge_commander": {
                "distribution": {
                    "kind": "kubeadm",
                    "access_dir": str(self.folder / "access"),
                    "kubeadm": {"runtime": f"unix://{self.folder}/c.sock"},
                },
                "prepull": {
                    "containerd_dir": str(self.folder / "containerd"),
                    "hosts_dir": str(self.certs),
                    "free_percent": 1,
                    **prepull,
                },
            },
        }
        config = self.folder / "galley.yaml"
        config.write_text(yaml.safe_dump(settings))
        env = {key: value for key, value in os.environ.items() if not key.startswith("GALLEY_")}
        env |= environ or {}
        module = "edge_commander.distribution.runner"
        command = self.inside(sys.executable, "-m", module, "--config", str(config))
        path = self.folder / "d.sock"
        with Doorman(path, command, env, self.folder / "runner.log") as self.doorman:
            yield Apart("kubeadm", path, None)  # type: ignore[arg-type]


class Doorman:
    """What galley-distribution.socket does (Accept=yes): one process for each connection, which it gets as standard
    input. It outlives the asker, and is killed at the end."""

    def __init__(self, path: Path, command: list[str], env: dict[str, str], log: Path) -> None:
        self.command, self.env, self.log = command, env, log
        self.children: list[subprocess.Popen[bytes]] = []
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen(8)
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection, self.log.open("ab") as log:
                self.children.append(
                    subprocess.Popen(
                        self.command, stdin=connection, stdout=connection, stderr=log, env=self.env, cwd=ROOT
                    )
                )

    def kill(self) -> None:
        """SIGKILL to all that run: as a power cut does, or the kernel when memory is short."""
        for child in self.children:
            child.kill()
            child.wait()
        self.children.clear()

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()
        self.kill()


def digest(content: bytes) -> str:
    """As registries name it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def link(place: Path, named: str) -> None:
    """A link of the registry's store."""
    file = place / "sha256" / named.removeprefix("sha256:") / "link"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(named)
