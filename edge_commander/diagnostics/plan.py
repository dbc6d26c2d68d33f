"""What is collected of a node: a list of values, each with its bounds, in the order of what is missed most. Pure.

Names in the bundle are ours. No file that holds a secret is in the list; see held.py for those that are read only to
know what must not come out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edge_commander.settings import CommanderSettings

KIB, MIB = 1024, 1024 * 1024
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._@-]*)*")
LINES = 10_000
"""The newest lines of a unit's journal."""
DAEMONS = {"edge-commander": 9404, "vessel": 9401, "heartbeat": 9402, "synthetic-client": 9403}
UNITS = (
    "galley-edge-commander", "galley-vessel", "galley-heartbeat", "galley-synthetic-client", "galley-discovery",
    "galley-distribution@*", "galley-machine@*", "galley-wipe",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A program's output, both streams."""

    argv: tuple[str, ...]


@dataclass(frozen=True)
class Read:
    """A file's last bytes. It must be a plain file under that very name: links are not followed."""

    path: str


@dataclass(frozen=True)
class Fetch:
    """What a daemon of this machine says on its loopback port."""

    port: int
    path: str
    host: str = "127.0.0.1"


Source = Run | Read | Fetch


@dataclass(frozen=True)
class Item:
    """`name`: in the bundle. `seconds`: the longest it may take; `bytes`: of it that stay, the last ones."""

    name: str
    source: Source
    seconds: float = 10.0
    bytes: int = 256 * KIB

    def describe(self) -> str:
        """In words."""
        match self.source:
            case Run(argv):
                what = f"what `{' '.join(argv)}` prints, within {self.seconds:g} s"
            case Read(path):
                what = f"the file {path}"
            case Fetch(port, path, host):
                what = f"what {host}:{port}{path} answers, within {self.seconds:g} s"
        size = f"{self.bytes // MIB} MiB" if self.bytes >= MIB else f"{self.bytes // KIB} KiB"
        return f"{self.name}: {what}; the last {size}"


def plan(own: CommanderSettings) -> list[Item]:
    """Everything for this node, by its distribution."""
    hours = own.diagnostics.hours
    kind = own.distribution.kind
    return [
        *_states(own),
        *_journals(UNITS[:2], hours, 2 * MIB),
        *_machine(),
        *_cluster(own),
        *_journals(_cluster_units(kind), hours, 3 * MIB),
        *_journals(UNITS[2:], hours, 2 * MIB),
        _journal("logs/kernel.txt", ("-k",), hours, MIB),
        _journal("logs/warnings.txt", ("-p", "warning"), hours, 2 * MIB),
        *_journals(own.diagnostics.units, hours, 2 * MIB),
        *(Item(f"files/{number}.txt", Read(path), bytes=2 * MIB) for number, path in enumerate(own.diagnostics.files)),
    ]


def describe(own: CommanderSettings, items: Sequence[Item]) -> list[str]:
    """The whole plan in words, a line each."""
    ours = own.diagnostics
    return [
        *(f"{number:2}. {one.describe()}" for number, one in enumerate(items, 1)),
        f"All of it within {ours.collect_seconds:g} s and {ours.bundle_bytes // KIB} KiB, as a tar.gz in {ours.folder},"
        f" where the newest {ours.keep} stay. Secrets are taken out line by line before anything is written.",
    ]


def _states(own: CommanderSettings) -> list[Item]:
    # The others' sections are not the commander's to read: they are looked for at their usual ports beside it.
    host = own.health.bind if own.health.bind.startswith("127.") else "127.0.0.1"
    ports = {**DAEMONS, "edge-commander": own.health.port}
    said = [
        Item(f"state/{name}-{path}.txt", Fetch(port, f"/{path}", host), 5.0)
        for name, port in ports.items()
        if port
        for path in ("healthz", "metrics")
    ]
    files = [Item(f"state/{name}", Read(f"{own.keys_dir}/{name}")) for name in ("state.json", "clock.json")]
    units = ["galley-*", *(f"{unit}.service" for unit in _cluster_units(own.distribution.kind))]
    return [
        *files,
        Item("state/units.txt", Run(("systemctl", "status", "--no-pager", "--full", "--lines=0", *units))),
        Item("state/failed-units.txt", Run(("systemctl", "list-units", "--no-pager", "--failed"))),
        *said,
        Item("state/galley.yaml", Read("/etc/galley/galley.yaml")),
    ]


def _machine() -> list[Item]:
    files = {"os-release": "/usr/lib/os-release", "meminfo": "/proc/meminfo", "loadavg": "/proc/loadavg",
             "uptime": "/proc/uptime", "mounts": "/proc/1/mounts", "cmdline": "/proc/cmdline",
             "pressure-cpu": "/proc/pressure/cpu", "pressure-io": "/proc/pressure/io",
             "pressure-memory": "/proc/pressure/memory", "diskstats": "/proc/diskstats"}  # fmt: skip
    programs: dict[str, tuple[str, ...]] = {
        "uname": ("uname", "-a"),
        "disks": ("lsblk", "-o", "NAME,TYPE,SIZE,FSTYPE,PARTLABEL,MOUNTPOINTS"),
        "space": ("df", "-PhT"),
        "inodes": ("df", "-Pi"),
        "addresses": ("ip", "address"),
        "routes": ("ip", "route", "show", "table", "all"),
        "sockets": ("ss", "-tulpn"),
        # Never the arguments: some programs take passwords there.
        "processes": ("ps", "-eo", "pid,ppid,user,stat,nice,rss,pcpu,etime,comm"),
        "time": ("timedatectl", "status", "--no-pager"),
        "boots": ("journalctl", "--list-boots", "--no-pager"),
    }
    return [
        *(Item(f"machine/{name}.txt", Read(path), bytes=64 * KIB) for name, path in files.items()),
        *(Item(f"machine/{name}.txt", Run(argv)) for name, argv in programs.items()),
    ]


def _cluster(own: CommanderSettings) -> list[Item]:
    distribution = own.distribution
    if distribution.kind == "k3s":
        binary = distribution.k3s.binary
        kubectl: tuple[str, ...] = (binary, "kubectl")
        crictl: tuple[str, ...] = (binary, "crictl")
        versions: dict[str, tuple[str, ...]] = {"k3s": (binary, "--version")}
    elif distribution.kind == "kubeadm":
        current = f"{distribution.kubeadm.programs}/current"
        kubectl = ("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf")
        crictl = ("crictl", "--runtime-endpoint", distribution.kubeadm.runtime)
        versions = {
            "kubeadm": (f"{current}/kubeadm", "version", "-o", "short"),
            "kubelet": (f"{current}/kubelet", "--version"),
            "containerd": ("containerd", "--version"),
        }
    else:
        return []
    asked: dict[str, tuple[str, ...]] = {
        "nodes": ("get", "nodes", "-o", "wide"),
        "pods": ("get", "pods", "-A", "-o", "wide"),
        "events": ("get", "events", "-A", "--sort-by=.lastTimestamp"),
    }
    return [
        *(Item(f"versions/{name}.txt", Run(argv)) for name, argv in versions.items()),
        *(Item(f"cluster/{name}.txt", Run((*kubectl, "--request-timeout=8s", *argv)), bytes=MIB)
          for name, argv in asked.items()),
        *(Item(f"cluster/cri-{name}.txt", Run((*crictl, *argv))) for name, argv in
          {"pods": ("pods",), "containers": ("ps", "-a"), "images": ("images",)}.items()),
    ]  # fmt: skip


def _cluster_units(kind: str) -> tuple[str, ...]:
    return {"k3s": ("k3s", "k3s-agent"), "kubeadm": ("kubelet", "containerd")}.get(kind, ())


def _journals(units: Sequence[str], hours: float, most: int) -> list[Item]:
    return [_journal(f"logs/{_plain(unit)}.txt", ("-u", unit), hours, most) for unit in units]


def _plain(unit: str) -> str:
    """A unit's name as that of a file of ours."""
    return re.sub(r"[^a-z0-9._-]+", "-", unit.rstrip("@*").lower()).lstrip("._-") or "unit"


def _journal(name: str, which: tuple[str, ...], hours: float, most: int) -> Item:
    since = f"--since=-{round(hours * 3600)}s"
    argv = ("journalctl", "--no-pager", "--quiet", "--output=short-iso", f"--lines={LINES}", since, *which)
    return Item(name, Run(argv), 20.0, most)
