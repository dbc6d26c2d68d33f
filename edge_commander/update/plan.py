"""The next step of an update, from what is known now. Pure.

One node of a site at a time, and only while the others are whole: an image that does not start takes one node with it,
which then starts the image it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.contracts.release import ImageRelease
from edge_commander.update.record import OPEN, Stage, UpdateRecord

SPARE_BYTES = 256 * 1024 * 1024
MAX_MISMATCHES = 3
REBOOT_SECONDS = 300.0
"""A reboot that was asked for and did not come within this is asked for again."""


@dataclass(frozen=True)
class Facts:
    """`slot`: of the two that this machine runs from (`a`, `b`; empty: none of them). `version`: of the image it runs.
    `boot`: boot id. `release`: the one wanted, once its document is here and judged; `whole`: files that are here
    whole, `begun`: bytes of the others; `free`: bytes on the folder's file system. `turn`: this node's; `held`: by
    another, for people; `unready`: who else is not whole. `trial`: the boot loader still counts this boot as a try.
    `asked`: s since the reboot was asked for in this boot, None: not by this process."""

    record: UpdateRecord
    slot: str
    version: str
    boot: str
    release: ImageRelease | None = None
    whole: frozenset[str] = frozenset()
    begun: Mapping[str, int] = field(default_factory=dict)
    free: int = 0
    turn: bool = False
    held: str = ""
    unready: str = ""
    trial: bool = False
    asked: float | None = None


@dataclass(frozen=True)
class FetchRelease:
    """Its document."""


@dataclass(frozen=True)
class FetchFile:
    """From where it is."""

    name: str


@dataclass(frozen=True)
class TakeTurn:
    """Among the site's nodes."""


@dataclass(frozen=True)
class Install:
    """Into the other slot."""

    slot: str


@dataclass(frozen=True)
class Reboot:
    """Into it. `first`: it is recorded before."""

    first: bool


@dataclass(frozen=True)
class Wait:
    """`why` for people."""

    why: str


@dataclass(frozen=True)
class End:
    """`problem` empty: it runs."""

    problem: str = ""


Step = FetchRelease | FetchFile | TakeTurn | Install | Reboot | Wait | End


def other(slot: str) -> str:
    """The slot that is not run from."""
    return {"a": "b", "b": "a"}[slot]


def next_step(facts: Facts) -> Step:
    """See above."""
    record = facts.record
    if record.stage not in OPEN:
        return End(record.problem)
    if record.stage is Stage.TRIAL:
        return _tried(facts)
    if facts.version == record.version:
        return _runs(facts)  # also where the power went between its entry and the record of its trial
    if problem := _impossible(facts):
        return End(problem)
    return (_missing(facts) if record.stage is Stage.FETCH else None) or _in_turn(facts)


def _impossible(facts: Facts) -> str:
    if not facts.slot:
        return "this machine does not run from one of two roots, so it has none to update"
    if facts.record.stage is Stage.FETCH and facts.record.signed is None:
        return "an older version took it up, and did not keep the command's signature: send it again"
    if facts.record.mismatches >= MAX_MISMATCHES:
        return f"{MAX_MISMATCHES} times a file came with other bytes than the release says"
    return ""


def _missing(facts: Facts) -> Step | None:
    if facts.release is None:
        return FetchRelease()
    files = facts.release.files(other(facts.slot))
    missing = [name for name in files if name not in facts.whole]
    if not missing:
        return None
    needed = sum(files[name].size - min(facts.begun.get(name, 0), files[name].size) for name in missing)
    if facts.free < needed + SPARE_BYTES:
        return Wait(f"{facts.free >> 20} MiB are free, the release needs {(needed + SPARE_BYTES) >> 20}")
    return FetchFile(missing[0])


def _in_turn(facts: Facts) -> Step:
    if facts.turn:
        return Install(other(facts.slot)) if facts.record.stage is Stage.FETCH else Reboot(first=True)
    if facts.held:
        return Wait(f"{facts.held} is updated first")
    return Wait(f"{facts.unready} is not whole") if facts.unready else TakeTurn()


def _tried(facts: Facts) -> Step:
    record = facts.record
    if facts.boot == record.boot:
        again = facts.asked is None or facts.asked >= REBOOT_SECONDS
        return Reboot(first=False) if again else Wait("the reboot is under way")
    if facts.version != record.version:
        return End(f"{record.version} did not start, or was not well: the node runs {facts.version} again")
    return _runs(facts)


def _runs(facts: Facts) -> Step:
    return Wait("tried: it must be well before it stays") if facts.trial else End()
