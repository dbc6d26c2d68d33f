"""The status in words, as text of any length, and the rows that the console has too. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from agents.contracts.messages import NodeState
from edge_commander.advice import CONFIG, advice
from edge_commander.view import Around, MemberView, StatusDocument, WipeView

GUTTER = 9
"""Where the second column begins."""


def as_text(document: StatusDocument, *, running: bool, now_ms: int, config: str = CONFIG, version: str = "") -> str:
    """For people, as many lines as it takes. `running`: the commander answers; `now_ms`: Unix ms, by this machine."""
    lines = [
        f"node     {document.node or 'not known yet'}",
        f"site     {document.site or 'none yet'}",
        f"state    {document.state.value}",
        f"reason   {reason_text(document)}",
        *([f"since    {stamp(document.since)} ({span(now_ms - document.since)})"] if document.since else []),
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
    lines += [f"{name:<{GUTTER}}{text}" for name, text in around_rows(document.around)]
    lines += [f"{name:<{GUTTER}}{text}" for name, text in command_rows(document, len(document.past))]
    if hint := advice(document, config).desk:
        lines.append(f"you can  {hint}")
    return "\n".join(map(plain, lines))


def plain(text: str) -> str:
    """With a question mark for everything that is not printed as it is: a reason may hold what an endpoint says."""
    return "".join(one if one.isprintable() else "?" for one in text)


def reason_text(document: StatusDocument) -> str:
    """Why it is where it is."""
    return document.reason or ("none: all is well" if document.state is NodeState.READY else "none")


def around_rows(around: Around) -> list[tuple[str, str]]:
    """Wipe, members, clock and disks, each with its name, as far as they are known."""
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
        found.append(("clock", f"{stamp(around.clock.now)}, {word}"))
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


def command_rows(document: StatusDocument, most: int) -> list[tuple[str, str]]:
    """The command in hand, and the `most` last ones that ended, the newest first."""
    found = []
    if document.command is not None:
        began = stamp(document.command.issued * 1000)
        found.append(("in hand", f"{document.command.verb} ({document.command.id[:8]}), signed {began}"))
    for one in reversed(document.past[-most:] if most else []):
        detail = f": {one.detail}" if one.detail else ""
        found.append(("command", f"{stamp(one.at)} {one.verb} ({one.id[:8]}) {one.outcome}{detail}"))
    return found


def stamp(ms: int) -> str:
    """Unix ms as date and time. One that has no year of four digits is shown as it is: what an endpoint, or a clock,
    says of the time may be nonsense, and must not take the screen away."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"no time ({ms} ms)"


def span(ms: int) -> str:
    """How long, in the two largest units; a clock that was set back counts as no time."""
    minutes = max(0, ms) // 60_000
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count // 10**6} MB"
