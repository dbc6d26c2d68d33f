"""What is shown of a node to the person before it: one view of all that was seen, for every renderer.

No settings, or wrong ones, are a state like any other: shown until they are right. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agents.contracts.messages import NodeState
from edge_commander.advice import CONFIG, Advice, advice
from edge_commander.shown import around_rows, command_rows, span, stamp
from edge_commander.view import StatusDocument

SHOWN_PAST = 3
WELL = "nothing: all is well"
NO_SETTINGS = "no settings yet"
WRONG_SETTINGS = "settings are wrong"
SILENT = "Edge Commander does not answer"
NO_CABLE = "none: no network cable is plugged in"
NO_ADDRESS = "none yet: the network has given none"

BRING = Advice(
    "put galley.yaml on a stick labelled GALLEY, and plug it in: it is read at once",
    "write {config}, or bring it on a stick labelled GALLEY (docs/image.md)",
    "bring a stick labelled GALLEY that edge-commander stick check finds good",
)
CORRECT = Advice(
    "have galley.yaml corrected, put it on a stick labelled GALLEY, and plug that in: it is read at once",
    "correct {config}; edge-commander --check-config says whether it is right",
    "edge-commander stick check FOLDER says whether the next stick is good",
)
WAIT = Advice(
    "wait for two minutes; if this stays, switch the machine off and on; if it still stays, call the support desk",
    "journalctl -u galley-edge-commander",
    "the page on port 9412 shows the same; other settings come by a stick",
)
TELL = Advice(
    "call the support desk, and read out what is wrong here",
    "look at what is wrong here, and at the journal",
    "look at what is wrong here; the page on port 9412 shows the same",
)
PLUG_IN = "plug in the network cable"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was found. `document` None: the commander does not answer. `missing`: there is no configuration; `problems`:
    what is wrong with the one there is, each with its path. `early`: what early boot could not do; `medium`: what was
    wrong with the last stick, or the esp. `node`, `serial`: as the hardware has them, empty where it says nothing.
    `addresses`: on the LAN; None: nobody looked. `cable`: whether one is plugged in; None: the hardware does not tell.
    `image`: it has the NUC image, on which nobody can log in. `now_ms`: Unix ms."""

    document: StatusDocument | None
    now_ms: int
    config: str = CONFIG
    version: str = ""
    missing: bool = False
    problems: Sequence[str] = ()
    early: Sequence[str] = ()
    medium: Sequence[str] = ()
    node: str = ""
    serial: str = ""
    addresses: Sequence[str] | None = None
    cable: bool | None = None
    image: bool = False


@dataclass(frozen=True, kw_only=True)
class View:
    """What is shown. Texts are not yet cleaned of control characters nor escaped: that is the renderer's.

    `address`: `addresses` in words, or why there is none. `since`: when state and reason became what they are, `span`:
    how long ago. `reason`: what it waits for; `waits`: it does wait. `here`, `desk`: see Advice. `more`: name and text.
    """

    now_ms: int
    version: str
    node: str
    who: str
    serial: str
    addresses: tuple[str, ...]
    address: str
    state: str
    since: str
    span: str
    reason: str
    waits: bool
    here: str
    desk: str
    problems: tuple[str, ...]
    more: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Told:
    state: str
    reason: str
    hint: Advice
    more: tuple[tuple[str, str], ...] = ()
    since: int | None = None
    who: str = ""
    waits: bool = True


def view(seen: Seen) -> View:
    """The same facts give the same view."""
    document = seen.document
    told = _without(seen) if document is None else _with(document, seen)
    hint = _hint(seen, told)
    addresses = tuple(seen.addresses or ())
    none = "" if seen.addresses is None else NO_CABLE if seen.cable is False else NO_ADDRESS
    steps = [PLUG_IN] if none == NO_CABLE else []
    if hint.here:
        steps.append(hint.here)
    return View(
        now_ms=seen.now_ms,
        version=seen.version,
        node=(document.node if document else None) or seen.node,
        who=told.who,
        serial=seen.serial,
        addresses=addresses,
        address=", ".join(addresses) or none,
        state=told.state,
        since=stamp(told.since) if told.since is not None else "",
        span=span(seen.now_ms - told.since) if told.since is not None else "",
        reason=told.reason,
        waits=told.waits,
        here="; then ".join(steps),
        desk=((seen.image and hint.image) or hint.desk).format(config=seen.config),
        problems=tuple(dict.fromkeys([*seen.early, *seen.medium, *_wrong(seen)])),
        more=told.more,
    )


def _hint(seen: Seen, told: _Told) -> Advice:
    """What the settings need comes first: without them nothing else gets on. A stick that was wrong may be long gone:
    said where nothing else is to be done."""
    if seen.problems and not seen.missing:
        return CORRECT
    if seen.missing:
        return CORRECT if seen.medium else BRING
    if told.hint.here:
        return told.hint
    return CORRECT if seen.medium else TELL if seen.early else told.hint


def _wrong(seen: Seen) -> list[str]:
    """Each without the file's name where that is said already, above them all."""
    if seen.missing:
        return []
    if seen.document is not None:
        return [*seen.problems]
    said = re.compile(rf"{re.escape(seen.config)}:(?:(\d+):)? ")
    return [said.sub(lambda found: f"line {found[1]}: " if found[1] else "", one, count=1) for one in seen.problems]


def _without(seen: Seen) -> _Told:
    if seen.missing:
        return _Told(NO_SETTINGS, f"there is no {seen.config}", BRING)
    if seen.problems:
        count = len(seen.problems)
        return _Told(WRONG_SETTINGS, f"{count} problem{'s' if count > 1 else ''} in {seen.config}", CORRECT)
    return _Told(SILENT, "", WAIT, waits=False)


def _with(document: StatusDocument, seen: Seen) -> _Told:
    around = document.around
    pending = f"{document.pending} message(s) not yet at the endpoint" if document.pending else "all is reported"
    return _Told(
        state=document.state.value,
        reason=document.reason.removeprefix("waiting: ") or (WELL if document.state is NodeState.READY else ""),
        hint=advice(document, seen.config),
        more=(*command_rows(document, SHOWN_PAST), *around_rows(around), ("outbox", pending)),
        since=document.since or None,  # 0: nothing has happened to it yet
        who=f"{around.name} of {document.site}" if around.name else document.site or "no site yet",
        waits=bool(document.reason),
    )
