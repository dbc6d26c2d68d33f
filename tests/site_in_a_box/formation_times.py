"""When what happened in a formation, out of the journals of its hosts, which share one clock; and what it cost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_commander.halves.serve import USED
from tests.site_in_a_box.cluster_host import ClusterHost

_USED = re.compile(re.escape(USED).replace(r"\{:\.2f\}", r"(\d+\.\d\d)"))


@dataclass(frozen=True)
class Event:
    """A line of Edge Commander's log: Unix s, the host's name, what, and its fields."""

    at: float
    host: str
    what: str
    fields: dict[str, Any]


def _lines(host: ClusterHost, unit: str) -> Iterable[tuple[float, str]]:
    for line in host.run("journalctl", "-b", "-u", unit, "-o", "json", "--no-pager").splitlines():
        entry = json.loads(line)
        if isinstance(entry.get("MESSAGE"), str):
            yield int(entry["__REALTIME_TIMESTAMP"]) / 1e6, entry["MESSAGE"]


def events(host: ClusterHost) -> list[Event]:
    """What the commander of that host said, in its order."""
    found = []
    for at, text in _lines(host, "galley-edge-commander.service"):
        if text.startswith("{"):
            said = json.loads(text)
            found.append(Event(at, host.name, str(said.get("event", "")), said))
    return found


def first(found: Iterable[Event], what: str, **fields: str) -> Event:
    """The first event of that kind, with these fields; LookupError where there is none."""
    for one in found:
        if one.what == what and all(one.fields.get(key) == value for key, value in fields.items()):
            return one
    raise LookupError(f"no {what!r} with {fields}")


@dataclass(frozen=True)
class Cost:
    """CPU seconds on one host: of each of the suite's units, of the root half itself, of the programs that it started
    to form the cluster (the distribution's), and of everything on the host."""

    units: dict[str, float]
    root_half: float
    distribution: float
    host: float

    @property
    def own(self) -> float:
        """Galley's own."""
        return sum(self.units.values()) + self.root_half


def cost(host: ClusterHost) -> Cost:
    """Of that host until now; the root half's are told in its journal when a request ends."""
    unified = Path("/sys/fs/cgroup/unified")
    place = (unified if unified.is_dir() else Path("/sys/fs/cgroup")) / host.name
    units = {}
    for stat in place.glob("**/galley-*.service/cpu.stat"):
        unit = stat.parent.name.removesuffix(".service")
        if not unit.startswith("galley-distribution"):
            units[unit] = int(stat.read_text().split()[1]) / 1e6
    own = programs = 0.0
    settling: dict[int, bool] = {}
    for pid, text in _requests(host):
        if text.startswith("asked: "):
            settling[pid] = "operation='settle'" in text
        elif used := _USED.search(text):
            own += float(used[1])
            if settling.get(pid):
                own += float(used[2])  # `vessel bootstrap` is the suite's
            else:
                programs += float(used[2])
    return Cost(units, own, programs, host.cpu_seconds())


def _requests(host: ClusterHost) -> Iterable[tuple[int, str]]:
    for line in host.run("journalctl", "-b", "-u", "galley-distribution@*", "-o", "json", "--no-pager").splitlines():
        entry = json.loads(line)
        if isinstance(entry.get("MESSAGE"), str):
            yield int(entry.get("_PID", 0)), entry["MESSAGE"]


def pss_mb(host: ClusterHost, unit: str) -> float:
    """The unit's main process' proportional share of memory, 10^6 bytes."""
    pid = host.property(unit, "MainPID")
    found = re.search(r"^Pss:\s+(\d+) kB", host.run("cat", f"/proc/{pid}/smaps_rollup"), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{unit}: /proc/{pid}/smaps_rollup names no Pss")
    return int(found[1]) * 1024 / 1e6
