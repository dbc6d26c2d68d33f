"""A site forms itself, beside a plain kubeadm script of the same steps, on three hosts of the same kind in one run.

python -m tests.benchmarks.bench_formation

Both begin when three hosts have booted and have Kubernetes' images. The suite also enrols, decides, makes and shares
secrets, gives its daemons their rights, and starts Vessel and heartbeat. Needs root. Exit status 1 where a limit is
exceeded.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.site_in_a_box import kubeadm_script
from tests.site_in_a_box.cluster_host import ClusterHost, ClusterHosts, each
from tests.site_in_a_box.formation_times import Cost, Event, cost, events, first, pss_mb
from tests.site_in_a_box.forming_site import UNITS, FormingSite

COMMANDER = "galley-edge-commander.service"
SECONDS, CPU_SECONDS, PSS_MB, ELECTION = 15.0, 10.0, 52.0, 5.0
"""The limits: Galley's own share in time and in CPU time of three nodes, the commander's memory, the election."""
ATLAS = {
    "apps/card/app.yaml": "v: 1\nowner: a\nnamespace: default\n",
    "apps/card/card.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: card}\ndata: {greeting: hello}\n",
}


class Prepared(FormingSite):
    """Its hosts boot without the suite's units running; `start` starts them. Every interval is the suite's default."""

    def _settings(self) -> dict[str, Any]:
        found = super()._settings()
        del found["heartbeat"], found["vessel"]["poll_seconds"]
        for interval in ("enrol_seconds", "site_seconds", "observe_seconds"):
            del found["edge_commander"][interval]
        return found

    def _enable(self, host: ClusterHost, link: str, unit: str) -> None:
        """Not at boot."""

    def start(self, host: ClusterHost) -> None:
        """All of the suite's units at once."""
        names = [f"galley-{unit}.service" for unit in UNITS]
        host.run("systemctl", "start", "--no-block", "galley-distribution.socket", *names)

    def said(self) -> list[Event]:
        """Every commander's events, by time."""
        return sorted((one for host in self.hosts for one in events(host)), key=lambda one: one.at)


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="galley-bf-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def by_hand() -> tuple[dict[str, float], float]:
    """The plain script: each part in s, and the CPU seconds of its three hosts."""
    with _folder() as folder, ClusterHosts(folder) as hosts:
        hosts.boot()
        before = sum(each(list(hosts), ClusterHost.cpu_seconds))
        parts = kubeadm_script.form(hosts)
        return parts, sum(each(list(hosts), ClusterHost.cpu_seconds)) - before


@dataclass(frozen=True)
class Formed:
    """The suite's run: parts in s, CPU by host, the election alone, and the commanders' memory."""

    parts: dict[str, float]
    total: float
    election: float
    costs: list[Cost]
    cpu: float
    memory: list[float]

    @property
    def own(self) -> float:
        """All but the distribution's init and joins, s."""
        return self.total - sum(self.parts[part] for part in ("init", "join 2", "join 3"))


def by_suite() -> Formed:
    """Three hosts on which the whole suite is started at once."""
    with _folder() as folder:
        site = Prepared(folder, operators=True)
        try:
            site.up(ATLAS)
            hosts = list(site.hosts)
            before = sum(each(hosts, ClusterHost.cpu_seconds))
            began = time.time()
            each(hosts, site.start)
            site.wait(lambda: len({e.host for e in site.said() if _is_ready(e)}) == 3, 400, "every node is ready")
            costs = each(hosts, cost)
            cpu = sum(one.host for one in costs) - before
            parts, election = _parts(site.said(), began)
            memory = each(hosts, lambda host: pss_mb(host, COMMANDER))
            return Formed(parts, sum(parts.values()), election, costs, cpu, memory)
        finally:
            site.down()


def _parts(said: list[Event], began: float) -> tuple[dict[str, float], float]:
    """Every moment from the start to the last `ready` belongs to one part."""
    inits = first(said, "begins", step="init")
    joins = [one for one in said if one.what == "begins" and one.fields["step"] == "join"]
    ends = {one.host: one.at for one in reversed(said) if one.what == "formation" and one.fields["what"] == "member"}
    ready = max(one.at for one in said if _is_ready(one))
    enrolled = sorted(one.at for one in said if one.what == "enrolled")
    decided = next(one.at for one in said if one.what == "decided" and one.host == inits.host)
    marks = [
        ("start to two enrolled", enrolled[1]),
        ("met, decided", decided),
        ("secrets made", inits.at),
        ("init", ends[inits.host]),
        ("secrets fetched, turn of 2", joins[0].at),
        ("join 2", ends[joins[0].host]),
        ("turn of 3", joins[-1].at),
        ("join 3", ends[joins[-1].host]),
        ("settle, ready", ready),
    ]
    parts, at = {}, began
    for name, until in marks:
        parts[name], at = max(0.0, until - at), max(at, until)
    return parts, max(0.0, decided - enrolled[1])


def _is_ready(one: Event) -> bool:
    return one.what == "state" and one.fields["state"] == "ready"


def two_offline() -> float:
    """How long two boxes of an offline site take to decide when the third is gone, from the moment they know who votes.

    The third enrols, so that the voters are fixed, and loses its power at once.
    """
    with _folder() as folder:
        site = Prepared(folder, election="offline")
        try:
            site.up(ATLAS)
            one, other, third = site.hosts
            each([one, other], lambda host: host.run("systemctl", "start", COMMANDER))
            site.wait(lambda: all(_has(host, "enrolled") for host in (one, other)), 90, "two have enrolled")
            third.run("systemctl", "start", COMMANDER)
            site.wait(lambda: _has(third, "enrolled"), 60, "the third has enrolled")
            assert not _has(third, "decided")
            third.cut_power()
            found = []
            for host in (one, other):
                site.wait(lambda host=host: _has(host, "decided"), 90, "it is decided")  # type: ignore[misc]
                found.append(first(events(host), "decided").at)
            known = [max(e.at for e in events(host) if e.what == "roster taken") for host in (one, other)]
            return max(found) - max(known)
        finally:
            site.down()


def _has(host: ClusterHost, what: str) -> bool:
    return any(one.what == what for one in events(host))


def main() -> int:
    """Prints the tables; whether every limit was kept."""
    script, script_cpu = by_hand()
    formed = by_suite()
    offline = two_offline()
    pairs = {"secrets made": "place", "init": "init", "join 2": "join 2", "join 3": "join 3", "settle, ready": "ready"}
    print("| part | Galley, s | by hand, s | ratio |\n|---|---|---|---|")
    for part, spent in formed.parts.items():
        base = script.get(pairs.get(part, ""))
        compared = f"{base:.1f} | {spent / base:.2f}" if base and part.startswith(("init", "join")) else "| "
        if base is not None and not part.startswith(("init", "join")):
            compared = f"{base:.1f} | "
        print(f"| {part} | {spent:.1f} | {compared} |")
    by_hand_total = sum(script.values())
    print(f"| **all** | **{formed.total:.1f}** | {by_hand_total:.1f} | {formed.total / by_hand_total:.2f} |")
    print(f"| CPU of three hosts | {formed.cpu:.1f} | {script_cpu:.1f} | {formed.cpu / script_cpu:.2f} |")
    _print_cpu(formed.costs)
    own_cpu = sum(one.own for one in formed.costs)
    rows = [
        ("Galley's own time (all but init and joins), s", formed.own, SECONDS),
        ("Galley's own CPU on three nodes, s", own_cpu, CPU_SECONDS),
        ("meeting and election once two are enrolled (a majority), s", formed.election, ELECTION),
        ("offline election by two, once they know the voters, s", offline, ELECTION),
        ("Edge Commander's PSS, the largest, MB", max(formed.memory), PSS_MB),
    ]
    print("\n| what | measured | limit |\n|---|---|---|")
    for what, measured, limit in rows:
        print(f"| {what} | {measured:.1f}{'' if measured <= limit else ' **over**'} | {limit:.0f} |")
    return int(any(measured > limit for _, measured, limit in rows))


def _print_cpu(costs: list[Cost]) -> None:
    names = sorted({name for one in costs for name in one.units})
    print(f"\n| CPU, s | {' | '.join(names)} | root half | own, all | kubeadm and etcdctl |")
    print("|---" * (len(names) + 4) + "|")
    for number, one in enumerate(costs, 1):
        units = " | ".join(f"{one.units.get(name, 0):.1f}" for name in names)
        print(f"| node {number} | {units} | {one.root_half:.1f} | {one.own:.1f} | {one.distribution:.1f} |")


if __name__ == "__main__":
    sys.exit(main())
