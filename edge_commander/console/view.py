"""What is shown of a node to the person before it: one view of all that was seen, for every renderer.

No settings, or wrong ones, are a state like any other: shown until they are right. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_commander.advice import CONFIG, advice
from edge_commander.shown import around_rows, command_rows, reason_text, span
from edge_commander.view import StatusDocument

SHOWN_PAST = 3
NO_SETTINGS = "no settings yet"
WRONG_SETTINGS = "settings are wrong"
SILENT = "Edge Commander does not answer"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was found. `document` None: the commander does not answer. `missing`: there is no configuration; `problems`:
    what is wrong with the one there is, each with its path. `notices`: what early boot could not do, and what was wrong
    with a medium. `node`, `serial`: as the hardware has them, empty where it says nothing. `now_ms`: Unix ms."""

    document: StatusDocument | None
    now_ms: int
    config: str = CONFIG
    version: str = ""
    missing: bool = False
    problems: Sequence[str] = ()
    notices: Sequence[str] = ()
    node: str = ""
    serial: str = ""
    addresses: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class View:
    """What is shown. Texts are not yet cleaned of control characters nor escaped: that is the renderer's."""

    now_ms: int
    version: str
    node: str
    who: str
    serial: str
    addresses: tuple[str, ...]
    state: str
    span: str
    reason: str
    advice: str
    problems: tuple[str, ...]
    more: tuple[tuple[str, str], ...]


def view(seen: Seen) -> View:
    """The same facts give the same view."""
    document = seen.document
    problems = tuple(dict.fromkeys([*seen.notices, *(() if seen.missing else seen.problems)]))
    state, reason, hint, more, since, who = _without(seen) if document is None else _with(document, seen)
    return View(
        now_ms=seen.now_ms,
        version=seen.version,
        node=(document.node if document else None) or seen.node,
        who=who,
        serial=seen.serial,
        addresses=tuple(seen.addresses),
        state=state,
        span=span(seen.now_ms - since) if since is not None else "",
        reason=reason,
        advice=_settings_advice(seen) or hint,
        problems=problems,
        more=tuple(more),
    )


def _settings_advice(seen: Seen) -> str:
    if seen.missing:
        return "put galley.yaml on a stick labelled GALLEY, and plug it in: it is read at once"
    if seen.problems:
        return f"correct {seen.config}: on a stick labelled GALLEY, plugged in again, it is read at once"
    return ""


_Told = tuple[str, str, str, list[tuple[str, str]], "int | None", str]


def _without(seen: Seen) -> _Told:
    if seen.missing:
        return NO_SETTINGS, f"there is no {seen.config}", "", [], None, ""
    if seen.problems:
        return WRONG_SETTINGS, f"{len(seen.problems)} problem(s), all shown here", "", [], None, ""
    hint = "wait: it starts by itself. If it stays so: journalctl -u galley-edge-commander"
    return SILENT, "", hint, [], None, ""


def _with(document: StatusDocument, seen: Seen) -> _Told:
    around = document.around
    who = f"{around.name} of {document.site}" if around.name else document.site or "no site yet"
    pending = f"{document.pending} message(s) not yet at the endpoint" if document.pending else "all is reported"
    more = [*command_rows(document, SHOWN_PAST), *around_rows(around), ("outbox", pending)]
    return document.state.value, reason_text(document), advice(document, seen.config), more, document.since, who
