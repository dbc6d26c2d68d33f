"""The status in words: as text of any length, and as the screen of a text console. Pure."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime

from agents.contracts.messages import NodeState
from edge_commander.advice import CONFIG, advice
from edge_commander.view import Around, MemberView, StatusDocument, WipeView

WIDTH, HEIGHT = 80, 25
GUTTER = 9
"""Where the second column begins."""
SHOWN_PAST = 3


def as_text(document: StatusDocument, *, running: bool, now_ms: int, config: str = CONFIG, version: str = "") -> str:
    """For people, as many lines as it takes. `running`: the commander answers; `now_ms`: Unix ms, by this machine."""
    lines = [
        f"node     {document.node or 'not known yet'}",
        f"site     {document.site or 'none yet'}",
        f"state    {document.state.value}",
        f"reason   {_reason(document)}",
        f"since    {_stamp(document.since)} ({_span(now_ms - document.since)})",
        f"daemon   {'running' if running else 'not running: this is what it last wrote'}",
    ]
    if version:
        lines.append(f"version  {version}")
    if running:
        lines.append(f"outbox   {document.pending} message(s) not yet at the endpoint")
    if document.secrets:
        behind = f", its servers run by {document.runs}" if document.runs != document.secrets else ""
        lines.append(f"secrets  generation {document.secrets}{behind}")
    if document.trust is not None:
        lines += document.trust.lines()
    if document.snapshot is not None:
        lines.append(document.snapshot.line())
    lines += [f"{name:<{GUTTER}}{text}" for name, text in _around(document.around)]
    lines += [f"{name:<{GUTTER}}{text}" for name, text in _commands(document, len(document.past))]
    if hint := advice(document, config):
        lines.append(f"you can  {hint}")
    return "\n".join(lines)


def screen(document: StatusDocument | None, *, now_ms: int, config: str = CONFIG, version: str = "") -> list[str]:
    """The lines of a console of 80 by 25, at most; plain text, none longer than the screen is wide. What a person can
    do comes before what they may read besides. `document` None: the commander does not answer."""
    head = f"Galley {version}".strip()
    lines = [f"{head}{_stamp(now_ms):>{WIDTH - len(head)}}", "-" * WIDTH]
    if document is None:
        lines += _rows("state", "Edge Commander does not answer")
        lines += _rows("you can", "wait: it starts by itself. If it stays so: journalctl -u galley-edge-commander")
        return lines
    who = f"{document.around.name} of {document.site}" if document.around.name else document.site or "no site yet"
    lines += _rows("node", f"{document.node or 'not known yet'} ({who})")
    lines += _rows("state", f"{document.state.value}, for {_span(now_ms - document.since)}")
    lines += _rows("reason", _reason(document), most=4)
    if hint := advice(document, config):
        lines += _rows("you can", hint, most=3)
    lines.append("")
    for name, text in [*_commands(document, SHOWN_PAST), *_around(document.around)]:
        lines += _rows(name, text, most=3)
    pending = f"{document.pending} message(s) not yet at the endpoint" if document.pending else "all is reported"
    return [*lines, *_rows("outbox", pending)][:HEIGHT]


def _reason(document: StatusDocument) -> str:
    return document.reason or ("none: all is well" if document.state is NodeState.READY else "none")


def _around(around: Around) -> list[tuple[str, str]]:
    found = []
    if around.wipe is not None:
        found.append(("wipe", _wipe(around.wipe)))
    if around.update:
        found.append(("update", around.update))
    if around.members:
        ready = sum(one.ready for one in around.members)
        each = ", ".join(map(_member, around.members))
        found.append(("cluster", f"{ready} of {len(around.members)} Ready: {each}"))
    if around.clock is not None:
        word = around.clock.problem or (
            "the endpoint confirms it" if around.clock.confirmed else "nobody confirmed it yet"
        )
        found.append(("clock", f"{_stamp(around.clock.now)}, {word}"))
    if around.disks:
        found.append(
            ("disk", ", ".join(f"{one.name} {_size(one.free)} free of {_size(one.size)}" for one in around.disks))
        )
    return found


def _member(one: MemberView) -> str:
    worker = "" if one.server else " (worker)"
    return f"{one.name} {'Ready' if one.ready else 'NOT Ready'}{worker} {one.version}".strip()


def _wipe(wipe: WipeView) -> str:
    targets = ", ".join(f"{one.name} {one.stage} {one.done} %" for one in wipe.targets)
    problem = f"; {wipe.problem}" if wipe.problem else ""
    again = f", start {wipe.attempts}" if wipe.attempts > 1 else ""
    return f"{wipe.phase}{again}: {targets or 'no target'}{problem}"


def _commands(document: StatusDocument, most: int) -> list[tuple[str, str]]:
    found = []
    if document.command is not None:
        began = _stamp(document.command.issued * 1000)
        found.append(("in hand", f"{document.command.verb} ({document.command.id[:8]}), signed {began}"))
    for one in reversed(document.past[-most:] if most else []):
        detail = f": {one.detail}" if one.detail else ""
        found.append(("command", f"{_stamp(one.at)} {one.verb} ({one.id[:8]}) {one.outcome}{detail}"))
    return found


def _rows(name: str, text: str, most: int = 2) -> list[str]:
    """One entry in two columns; what does not fit into `most` lines ends in dots."""
    plain = "".join(one if one.isprintable() else "?" for one in text)
    rows = textwrap.wrap(plain, WIDTH - GUTTER, max_lines=most, placeholder=" ...", break_on_hyphens=False) or [""]
    return [f"{name if not i else '':<{GUTTER}}{row}" for i, row in enumerate(rows)]


def _stamp(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(ms: int) -> str:
    """How long, in the two largest units; a clock that was set back counts as no time."""
    minutes = max(0, ms) // 60_000
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count // 10**6} MB"
