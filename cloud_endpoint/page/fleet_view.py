"""The fleet as the page shows it, held in memory and brought up to date by what changed alone. Pure; time is given.

A beat costs a lookup and a number; nothing here walks the fleet but a snapshot and a reader that was long away.
Liveness changes by itself are found by a heap with one entry per node, looked at when due.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from agents.contracts.codec import encode
from cloud_endpoint.page.liveness import Liveness, judge, next_change
from cloud_endpoint.page.summary import ALERT_MS, Beating, NodeRow, SiteRows, summarise

MAX_GONE = 1000
ALERTS_EVERY_MS = 60_000
"""How often alerts are looked at for those that ended by age."""


@dataclass(slots=True)
class _Node:
    id: str
    site: str
    interval: float
    beat_ms: int | None
    beat: Beating | None
    live: Liveness
    version: int = 0
    due: int | None = None


@dataclass(slots=True)
class _Site:
    rows: SiteRows
    encoded: bytes
    version: int


@dataclass(frozen=True)
class Extras:
    """What belongs to no site: devices that wait for a person, alerts of the fleet."""

    waiting: int = 0
    alerts: int = 0


@dataclass(frozen=True)
class Frame:
    """One event to the browsers: what changed up to `version`. `beats`: node id -> (site, receipt in Unix ms)."""

    version: int
    now_ms: int
    sites: dict[str, bytes]
    beats: dict[str, tuple[str, int]]
    gone: tuple[str, ...]
    extras: Extras
    _cache: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    def encode(self, only: str | None = None) -> bytes:
        """Its JSON; `only`: for one who may see that site alone."""
        key = only or ""
        if key not in self._cache:
            self._cache[key] = self._encode(only)
        return self._cache[key]

    def concerns(self, only: str | None) -> bool:
        """Whether there is anything in it for one who may see that site alone."""
        if only is None:
            return True
        return only in self.sites or only in self.gone or any(site == only for site, _ in self.beats.values())

    def _encode(self, only: str | None) -> bytes:
        extras = self.extras if only is None else Extras()
        head = encode(
            {
                "now": self.now_ms,
                "gone": [site for site in self.gone if only in (None, site)],
                "waiting": extras.waiting,
                "alerts": extras.alerts,
                "beats": {node: ms for node, (site, ms) in self.beats.items() if only in (None, site)},
            }
        )
        sites = b",".join(text for site, text in self.sites.items() if only in (None, site))
        return head[:-1] + b',"sites":[' + sites + b"]}"


class FleetView:
    """Feed it rows and beats; `take` what changed. `interval`: of nodes that have not told theirs, in s."""

    def __init__(self, *, interval: float, started_ms: int) -> None:
        self._interval = interval
        self._started_ms = started_ms
        self._sites: dict[str, _Site] = {}
        self._nodes: dict[str, _Node] = {}
        self._gone: dict[str, int] = {}
        self._gone_floor = 0
        self._heap: list[tuple[int, str]] = []
        self._alert_ends: dict[str, int] = {}
        self._alerts_looked_ms = 0
        self._changed: dict[str, SiteRows] = {}
        self._fresh_beats: set[str] = set()
        self._fresh_gone: list[str] = []
        self._extras = Extras()
        self._extras_changed = False
        self.version = 0

    def __len__(self) -> int:
        return len(self._sites)

    def put(self, rows: SiteRows, now_ms: int) -> None:
        """Takes a site as it is stored now."""
        for gone in self._known_nodes(rows.site) - {row.id for row in rows.nodes}:
            del self._nodes[gone]
        for row in rows.nodes:
            known = self._nodes.get(row.id)
            node = _Node(row.id, rows.site, row.interval or self._interval, row.beat_ms, row.beat, Liveness.NEVER)
            if known is not None and known.site == rows.site:
                node.version, node.due = known.version, known.due
                if (known.beat_ms or 0) > (row.beat_ms or 0):  # read before a beat that is here already
                    node.beat_ms, node.beat = known.beat_ms, known.beat
            if known is None or known.beat_ms != node.beat_ms:
                self._fresh_beats.add(node.id)
            self._nodes[row.id] = node
            self._rejudge(node, now_ms)
        self._changed[rows.site] = rows

    def remove(self, site: str) -> None:
        """The site is no more."""
        for node in self._known_nodes(site):
            del self._nodes[node]
        self._changed.pop(site, None)
        self._alert_ends.pop(site, None)
        if self._sites.pop(site, None) is not None:
            self._fresh_gone.append(site)

    def beats(self, arrived: Iterable[tuple[str, int, Beating]], now_ms: int) -> set[str]:
        """Takes beats (node, receipt in Unix ms, body); returns the nodes it does not know."""
        unknown = set()
        for node_id, beat_ms, beat in arrived:
            node = self._nodes.get(node_id)
            if node is None:
                unknown.add(node_id)
                continue
            if node.beat_ms is not None and beat_ms <= node.beat_ms:
                continue
            before, node.beat_ms = node.beat_ms, beat_ms
            self._fresh_beats.add(node_id)
            if node.beat != beat or before is None:
                node.beat = beat
                self._touch(node.site)
            if node.live is not Liveness.ALIVE:
                self._rejudge(node, now_ms)
        return unknown

    def extras(self, extras: Extras) -> None:
        """Takes what belongs to no site."""
        self._extras_changed = self._extras_changed or extras != self._extras
        self._extras = extras

    def tick(self, now_ms: int) -> None:
        """Finds what changed by time alone."""
        while self._heap and self._heap[0][0] <= now_ms:
            due, node_id = heapq.heappop(self._heap)
            node = self._nodes.get(node_id)
            if node is not None and node.due == due:
                node.due = None
                self._rejudge(node, now_ms)
        if now_ms >= self._alerts_looked_ms + ALERTS_EVERY_MS:
            self._alerts_looked_ms = now_ms
            for site in [site for site, end in self._alert_ends.items() if end <= now_ms]:
                self._touch(site)

    def due_ms(self) -> int | None:
        """When `tick` has something to look at next."""
        return self._heap[0][0] if self._heap else None

    def take(self, now_ms: int) -> Frame | None:
        """What changed since the last call, as one frame; None when nothing did."""
        if not (self._changed or self._fresh_beats or self._fresh_gone or self._extras_changed):
            return None
        self.version += 1
        sites = {site: self._summarise(rows, now_ms) for site, rows in self._changed.items()}
        beats = {}
        for node_id in self._fresh_beats:
            node = self._nodes.get(node_id)
            if node is not None and node.beat_ms is not None:
                node.version = self.version
                beats[node_id] = (node.site, node.beat_ms)
        # Only now is it certain who is gone: between two frames a site may go, come back and go again.
        gone = tuple(site for site in self._fresh_gone if site not in self._sites)
        for site in sites:
            self._gone.pop(site, None)
        self._gone.update(dict.fromkeys(gone, self.version))
        while len(self._gone) > MAX_GONE:
            oldest = next(iter(self._gone))
            self._gone_floor = self._gone.pop(oldest)
        self._changed, self._fresh_beats, self._fresh_gone, self._extras_changed = {}, set(), [], False
        return Frame(self.version, now_ms, sites, beats, gone, self._extras)

    def since(self, version: int, now_ms: int) -> Frame | None:
        """All that changed after `version`, for a reader that was away; None when that is no longer known."""
        if version < self._gone_floor or version > self.version:
            return None
        sites = {name: site.encoded for name, site in self._sites.items() if site.version > version}
        beats = {
            node.id: (node.site, node.beat_ms)
            for node in self._nodes.values()
            if node.version > version and node.beat_ms is not None
        }
        gone = tuple(site for site, at in self._gone.items() if at > version)
        return Frame(self.version, now_ms, sites, beats, gone, self._extras)

    def snapshot(self, now_ms: int) -> Frame:
        """The whole fleet, as of `version`."""
        frame = self.since(max(0, self._gone_floor), now_ms)
        assert frame is not None
        sites = {name: site.encoded for name, site in self._sites.items()}
        beats = {n.id: (n.site, n.beat_ms) for n in self._nodes.values() if n.beat_ms is not None and n.version}
        return Frame(self.version, now_ms, sites, beats, (), frame.extras)

    def site_of(self, node: str) -> str | None:
        """Where a node belongs, None for one it does not know."""
        known = self._nodes.get(node)
        return None if known is None else known.site

    def node_live(self, node: str, now_ms: int) -> Liveness:
        """How a node is by now."""
        known = self._nodes.get(node)
        if known is None:
            return Liveness.NEVER
        return judge(known.beat_ms, known.interval, now_ms, self._started_ms)

    def _summarise(self, rows: SiteRows, now_ms: int) -> bytes:
        nodes = [node for row in rows.nodes if (node := self._nodes.get(row.id)) is not None]
        held = {node.id: node for node in nodes}
        current = [row if row.id not in held else _with_beat(row, held[row.id]) for row in rows.nodes if row.id in held]
        rows = _with_nodes(rows, current)
        live = {node.id: node.live for node in nodes}
        summary = summarise(rows, live, version=self.version, interval=self._interval, now_ms=now_ms)
        site = _Site(rows, encode(summary), self.version)
        self._sites[rows.site] = site
        ends = [alert.last_ms + ALERT_MS for alert in rows.alerts if alert.last_ms + ALERT_MS > now_ms]
        self._alert_ends.pop(rows.site, None)
        if ends:
            self._alert_ends[rows.site] = min(ends)
        return site.encoded

    def _rejudge(self, node: _Node, now_ms: int) -> None:
        live = judge(node.beat_ms, node.interval, now_ms, self._started_ms)
        if live is not node.live:
            node.live = live
            self._touch(node.site)
        if node.beat_ms is None:
            return
        due = next_change(node.beat_ms, node.interval, now_ms, self._started_ms)
        if due is not None and (node.due is None or due < node.due):
            node.due = due
            heapq.heappush(self._heap, (due, node.id))

    def _touch(self, site: str) -> None:
        known = self._sites.get(site)
        if known is not None:
            self._changed.setdefault(site, known.rows)

    def _known_nodes(self, site: str) -> set[str]:
        known = self._changed.get(site) or (self._sites[site].rows if site in self._sites else None)
        ids = {row.id for row in known.nodes} if known is not None else set()
        return {node for node in ids if node in self._nodes and self._nodes[node].site == site}


def _with_beat(row: NodeRow, node: _Node) -> NodeRow:
    return row if row.beat_ms == node.beat_ms else replace(row, beat_ms=node.beat_ms, beat=node.beat)


def _with_nodes(rows: SiteRows, nodes: list[NodeRow]) -> SiteRows:
    return replace(rows, nodes=nodes)
