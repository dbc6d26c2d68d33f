"""Is a new site as the roll-out hands it over: a list of checks, out of what the endpoint knows of it. Pure.

Only what was said lately counts: a node that fell silent was healthy in its last report too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from agents.contracts.health import HealthBit, unpack
from agents.contracts.messages import Facts, NodeState, Phase, StepResult
from cloud_endpoint.page.liveness import Liveness, judge
from cloud_endpoint.page.summary import GOOD, WHOLE
from cloud_endpoint.records import DeploymentRecord, NodeRecord, SiteView, SyntheticRecord
from cloud_endpoint.rules.acceptance_report import AcceptanceReport, Check, CheckName

T = TypeVar("T")
NODES = 3
"""Of a site, where nothing else is said."""
BEAT_SECONDS = 15.0
"""The interval of a node that has not told its own, as `cloud_endpoint.beat_seconds` is by default."""
FACTS_MS = 40 * 60 * 1000
"""Facts come every 15 minutes: two may be missed, and a line may be slow."""
MAX_USED = 0.85
"""Of a file system's bytes and inodes; at 95 % heartbeat itself calls a disk unwell."""
WINDOWS = 4
"""A synthetic report may be so many of its windows old, as a beat may be four intervals."""
GRACE_MS = 60_000
TEXT_CHARS = 1000


def judge_site(view: SiteView, *, nodes: int = NODES) -> AcceptanceReport:
    """The report of this moment (`view.now_ms`). `nodes`: how many the site was shipped with."""
    enrolled = [node for node in view.nodes if node.status == "enrolled"]
    found = {
        CheckName.ENROLLED: _enrolled(view.nodes, nodes),
        CheckName.READY: _each(enrolled, _unready, "ready"),
        CheckName.BEATS: _each(enrolled, lambda node: _silent(node, view.now_ms), "heard now"),
        CheckName.ATLAS: _atlas(view.deployments),
        CheckName.SYNTHETIC: _synthetic(view.synthetics, view.now_ms),
        CheckName.CLOCK: _each(enrolled, lambda node: _clock(node, view.now_ms), "synchronised"),
        CheckName.DISKS: _each(enrolled, lambda node: _disks(node, view.now_ms), f"under {MAX_USED:.0%}"),
    }
    return AcceptanceReport(
        site=view.site.site,
        epoch=view.site.epoch,
        generation=view.site.generation,
        at=view.now_ms,
        nodes=sorted(node.node for node in enrolled),
        revision=next((_text(d.body, "revision") for d in view.deployments if d.app == WHOLE), ""),
        checks=[_check(name, *found[name]) for name in CheckName],
    )


def _check(name: CheckName, good: str, wrong: list[str]) -> Check:
    text = "; ".join(wrong) or good
    return Check(name=name, ok=not wrong, text=text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 1] + "…")


def _enrolled(nodes: list[NodeRecord], wanted: int) -> tuple[str, list[str]]:
    """A revoked device is out of the site: whoever took its place counts."""
    count = sum(node.status == "enrolled" for node in nodes)
    wrong = [f"{node.name} is shipped and has not enrolled" for node in nodes if node.status == "shipped"]
    if count != wanted:
        wrong.insert(0, f"{count} of {wanted} nodes enrolled")
    return f"{count} of {wanted}: {_names(node.name for node in nodes if node.status == 'enrolled')}", wrong


def _each(nodes: list[NodeRecord], problem: Callable[[NodeRecord], str], good: str) -> tuple[str, list[str]]:
    """`problem` of every enrolled node; none at all is a problem too."""
    wrong = [f"{node.name} {text}" for node in nodes if (text := problem(node))]
    return f"{len(nodes)} {good}", wrong if nodes else ["no node is enrolled"]


def _unready(node: NodeRecord) -> str:
    state, reason = _text(node.state, "state"), _text(node.state, "reason")
    if not state:
        return "has not told its state"
    if state != NodeState.READY or reason:
        return f"is {state}" + (f", {reason}" if reason else "")
    return ""


def _silent(node: NodeRecord, now_ms: int) -> str:
    facts = _facts(node)
    live = judge(node.beat_ms, (facts and facts.interval) or BEAT_SECONDS, now_ms, 0)
    if live is Liveness.ALIVE:
        return ""
    if node.beat_ms is None:
        return "was never heard"
    return f"was last heard {(now_ms - node.beat_ms) // 1000} s ago"


def _clock(node: NodeRecord, now_ms: int) -> str:
    facts = _facts(node)
    if facts is None or _old(node, now_ms):
        return "has not told its facts lately"
    if facts.clock_synchronized is None:
        return "does not know whether its clock is synchronised"
    said = HealthBit.CLOCK in unpack(int((node.beat or {}).get("ok", 0))).bad  # a beat is newer than facts
    return "has a clock that is not synchronised" if said or not facts.clock_synchronized else ""


def _disks(node: NodeRecord, now_ms: int) -> str:
    facts = _facts(node)
    if facts is None or _old(node, now_ms):
        return "has not told its facts lately"
    known = [disk for disk in facts.disks if disk.total]
    if not known:
        return "names no disk"
    found = []
    for disk in known:
        used = max(1 - disk.free / disk.total, 1 - disk.inodes_free_percent / 100)
        if used >= MAX_USED:
            found.append(f"{disk.path} is {used:.0%} full")
    return f"has disks with little room: {', '.join(found)}" if found else ""


def _atlas(deployments: list[DeploymentRecord]) -> tuple[str, list[str]]:
    """The whole Atlas healthy, and no app that says otherwise of the same revision or since."""
    whole = next((one for one in deployments if one.app == WHOLE), None)
    if whole is None:
        return "", ["no Atlas was applied"]
    revision, phase = _text(whole.body, "revision"), _text(whole.body, "phase")
    wrong = []
    if phase not in GOOD or not revision:
        wrong.append(f"the Atlas is {phase or 'unknown'}" + (f" at {revision[:12]}" if revision else ""))
    for one in deployments:
        at, what = _text(one.body, "revision"), _text(one.body, "phase")
        if one.app != WHOLE and at != revision and one.t > whole.t:
            wrong.append(f"{one.app} is at another revision, {at[:12]}")
        elif one.app != WHOLE and at == revision and what not in GOOD:
            wrong.append(f"{one.app} is {what or 'unknown'}")
    return f"{Phase.HEALTHY.value} at {revision[:12]}", wrong


def _synthetic(steps: list[SyntheticRecord], now_ms: int) -> tuple[str, list[str]]:
    wrong = []
    for one in steps:
        name, result = f"{one.scenario}/{one.step}", _convert(one.body, StepResult)
        if now_ms - one.received_ms > WINDOWS * one.seconds * 1000 + GRACE_MS:
            wrong.append(f"{name} was last reported {(now_ms - one.received_ms) // 1000} s ago")
        elif result is None:
            wrong.append(f"{name} cannot be read")
        elif result.failed:
            ran = result.ok + result.failed
            wrong.append(f"{name} failed {result.failed} of {ran} times" + (f": {result.error}" * bool(result.error)))
        elif not result.ok:
            wrong.append(f"{name} did not run in its last window")
    return f"{len(steps)} steps ok", wrong if steps else ["no synthetic step was reported"]


def _old(node: NodeRecord, now_ms: int) -> bool:
    return node.facts_ms is None or now_ms - node.facts_ms > FACTS_MS


def _facts(node: NodeRecord) -> Facts | None:
    return None if node.facts is None else _convert(node.facts | {"kind": "facts"}, Facts)


def _convert(body: dict[str, Any], type_: type[T]) -> T | None:
    try:
        return msgspec.convert(body, type_)
    except msgspec.ValidationError:
        return None


def _text(body: dict[str, Any] | None, key: str) -> str:
    return str((body or {}).get(key, ""))


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
