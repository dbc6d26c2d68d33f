"""The shell of plan.py: gathers the facts, takes the one step. Touches the net, the folder, the root half.

Level-triggered: a turn may be the first after any crash. The command is answered when it is taken up, since a release
may take a night on a bad line; what becomes of it is an alert and the version in the node's facts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
from structlog.typing import FilteringBoundLogger

from agents.contracts.command import Command, SignedCommand
from agents.contracts.messages import Alert, Severity
from agents.contracts.release import DOCUMENT, ImageRelease
from agents.core.backoff import Backoff
from agents.core.errors import GalleyError, Rejected, Retryable
from agents.core.jose import SignatureRefused
from agents.core.operators import Operators
from agents.core.ports import Clock, Outbox
from agents.core.releases import MAX_BYTES, verify_release
from agents.supervise.daemon import Pulse
from edge_commander.update import plan as plans
from edge_commander.update import record as records
from edge_commander.update.fetch import Fetcher, Mismatch
from edge_commander.update.plan import Facts, next_step, other
from edge_commander.update.record import OPEN, Stage, UpdateRecord
from edge_commander.update.store import UpdateStore
from edge_commander.verbs import Outcome

IDLE_SECONDS = 3600.0
LOOK_SECONDS = 15.0
BUSY_SECONDS = 1800.0
_STAGES = {Stage.FETCH: "is fetched", Stage.INSTALLED: "is in the idle root", Stage.TRIAL: "is on trial"}


class Image(Protocol):
    """What this machine runs."""

    def slot(self) -> str:
        """`a`, `b`; empty: none of them."""

    def version(self) -> str:
        """Of the image."""

    def trial(self) -> bool:
        """Whether the boot loader still counts this boot as a try."""


class Root(Protocol):
    """The root half. Each raises Retryable, Rejected."""

    async def install(self, signed: SignedCommand) -> None:
        """Puts what was fetched into the idle slot, where this command orders it."""

    async def reboot(self) -> None:
        """Starts the machine again."""


class Turns(Protocol):
    """Whose turn it is in the site. Each raises Retryable."""

    async def look(self) -> tuple[bool, str, str]:
        """Whether it is this node's; who else holds it; who else is not whole."""

    async def take(self) -> None:
        """Compare and set; seen at the next look."""

    async def give_back(self) -> None:
        """Nothing where it is not this node's."""


@dataclass(frozen=True)
class Parts:
    """`boot`: boot id. `member`: whether this node is a Ready member now. `signed`: the command in hand, by its id, as
    it came."""

    store: UpdateStore
    fetcher: Fetcher
    image: Image
    root: Root
    turns: Turns
    operators: Callable[[], Operators | None]
    signed: Callable[[str], SignedCommand | None]
    member: Callable[[], bool]
    boot: str
    outbox: Outbox
    clock: Clock
    uniform: Callable[[float, float], float]
    log: FilteringBoundLogger


class Updater:
    """One update at a time. `why`: what it waits for, for people; empty: nothing."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._backoff = Backoff(base=5.0, cap=900.0)
        self._asked: float | None = None
        self._wake = asyncio.Event()
        self._change = asyncio.Lock()  # of the record to another command's, or of the idle root
        self.why = ""

    def shown(self) -> str:
        """How far an update is, in words; empty where none is under way."""
        record = self._p.store.record
        if record is None or record.stage not in OPEN:
            return ""
        return f"image {record.version}, {_STAGES[record.stage]}{f'; waits: {self.why}' if self.why else ''}"

    async def upgrade(self, command: Command) -> Outcome:
        """The verb `upgrade`: taken up, or refused with the reason. Raises Retryable."""
        if not self._p.image.slot():
            text = "this machine does not run from one of two roots; Kubernetes is upgraded by `galley site upgrade`"
            return Outcome("refused", text)
        try:
            new = msgspec.structs.replace(records.wanted(command), signed=self._p.signed(command.id))
        except ValueError as error:
            return Outcome("refused", str(error))
        present = self._p.store.record
        if present is not None and present.id == new.id:
            return self._taken(new)
        if problem := self._problem(present, new):
            return Outcome("refused", problem)
        async with self._change:
            await asyncio.to_thread(self._p.store.begin, new)
        self._wake.set()
        return self._taken(new)

    def _problem(self, present: UpdateRecord | None, new: UpdateRecord) -> str:
        if present is not None and self._change.locked():
            return f"the update to {present.version} is put into the idle root: it ends first"
        if problem := records.takes(present, new):
            return problem
        if records.older(new.version, runs := self._p.image.version()):
            # Both would stand on the esp, and the boot loader starts the newest: what an older one must bring back is
            # released under a newer number.
            return f"this node runs {runs}, and the newest of two images is started"
        if new.version == runs and (present is None or present.stage is not Stage.DONE or present.sha256 != new.sha256):
            # An image knows no more of itself than its number: whether it is the ordered release, it cannot say.
            return f"this node runs an image {runs} already; another build of it is released under a newer number"
        return ""

    @staticmethod
    def _taken(record: UpdateRecord) -> Outcome:
        return Outcome("done", f"release {record.version} is taken up; its end will be an alert of this node")

    async def run(self, pulse: Pulse) -> None:
        """A loop of the daemon."""
        while not pulse.stopping:
            turn = asyncio.create_task(self.turn())
            await pulse.until(turn, BUSY_SECONDS)
            if not turn.done() or turn.cancelled():
                continue
            await pulse.wait(self._wake, turn.result())
            self._wake.clear()

    async def turn(self) -> float:
        """One look and one step; how long to wait for the next, s."""
        record = self._p.store.record
        if record is None or (record.stage not in OPEN and record.told and record.returned):
            return IDLE_SECONDS
        try:
            wait = await self._take(record, await self._facts(record))
        except Mismatch as error:
            self._save(msgspec.structs.replace(record, mismatches=record.mismatches + 1))
            return self._failed(error)
        except Rejected as error:
            self._save(records.failed(record, str(error)))
            return 0.0
        except GalleyError as error:
            return self._failed(error)
        self._backoff = self._backoff.succeeded()
        return wait

    def _current(self, record: UpdateRecord) -> bool:
        """Whether no other command took its place since the turn began."""
        return self._p.store.record is not None and self._p.store.record.id == record.id

    def _save(self, record: UpdateRecord) -> None:
        """Nothing where another command took its place: that one's record stands. Raises Retryable."""
        if self._current(record):
            self._p.store.save(record)

    def _came(self, record: UpdateRecord) -> None:
        """Raises Retryable where what comes is nobody's any more."""
        if not self._current(record):
            raise Retryable("another update was ordered")

    def _failed(self, error: GalleyError) -> float:
        if self.why != str(error):
            self._p.log.info("the update cannot go on yet", cause=str(error))
        self.why = str(error)
        self._backoff = self._backoff.failed()
        hint = error.retry_after if isinstance(error, Retryable) else None
        return self._backoff.delay(self._p.uniform, hint)

    async def _facts(self, record: UpdateRecord) -> Facts:
        p = self._p
        slot = p.image.slot()
        release = await asyncio.to_thread(self._release, record) if record.stage is Stage.FETCH else None
        files = release.files(other(slot)) if release is not None and slot else {}
        whole = p.store.whole(release, other(slot)) if release is not None and slot else frozenset()
        fetched = record.stage is Stage.INSTALLED or (bool(files) and whole == files.keys())
        mine, held, unready = await p.turns.look() if fetched else (False, "", "")
        return Facts(
            record=record,
            slot=slot,
            version=p.image.version(),
            boot=p.boot,
            release=release,
            whole=whole,
            begun={name: p.fetcher.begun(name) for name in files},
            free=p.store.free(),
            turn=mine,
            held=held,
            unready=unready,
            trial=p.image.trial(),
            asked=None if self._asked is None else p.clock.monotonic() - self._asked,
        )

    def _release(self, record: UpdateRecord) -> ImageRelease | None:
        data = self._p.store.document()
        try:
            return verify_release(data, self._p.operators(), record.version) if data else None
        except SignatureRefused as error:
            raise Rejected(f"the release is refused: {error.cause}") from None

    async def _take(self, record: UpdateRecord, facts: Facts) -> float:
        step, p = next_step(facts), self._p
        self.why = step.why if isinstance(step, plans.Wait) else ""
        match step:
            case plans.Wait():
                return LOOK_SECONDS
            case plans.FetchRelease():
                await self._fetch_document(record)
            case plans.FetchFile(name):
                assert facts.release is not None
                wanted = facts.release.files(other(facts.slot))[name]
                await p.fetcher.file(f"{record.address}/{name}", name, wanted, lambda count: self._came(record))
                self._came(record)
                p.store.checked(name, wanted.sha256)
            case plans.TakeTurn():
                await p.turns.take()
            case plans.Install():
                async with self._change:
                    await self._install(record)
            case plans.Reboot(first):
                await self._reboot(record, first=first)
                return LOOK_SECONDS
            case plans.End(problem):
                await self._end(record, problem)
        return 0.0

    async def _install(self, record: UpdateRecord) -> None:
        p = self._p
        if not self._current(record):
            return
        p.log.info("a release is put into the idle root", audit=True, version=record.version, id=record.id)
        # From its entry on, any start is its trial: what it must be as good as is recorded before.
        record = msgspec.structs.replace(record, member=record.member or p.member())
        p.store.save(record)
        assert record.signed is not None
        await p.root.install(record.signed)
        p.store.save(msgspec.structs.replace(record, stage=Stage.INSTALLED))
        await asyncio.to_thread(p.store.clear)

    async def _fetch_document(self, record: UpdateRecord) -> None:
        data = await self._p.fetcher.document(f"{record.address}/{DOCUMENT}", MAX_BYTES)
        self._p.store.keep(data)
        if not self._p.store.document():
            raise Mismatch("the release's document is not the one that was ordered")

    async def _reboot(self, record: UpdateRecord, *, first: bool) -> None:
        if first:
            member = record.member or self._p.member()
            at = msgspec.structs.replace(record, stage=Stage.TRIAL, boot=self._p.boot, member=member)
            self._p.store.save(at)
        self._asked = self._p.clock.monotonic()
        self._p.log.info("reboots into another image", audit=True, version=record.version, id=record.id)
        await self._p.root.reboot()

    async def _end(self, record: UpdateRecord, problem: str) -> None:
        """Told first, as the outbox is here: the turn is given back in the cluster, which a node that came back from an
        image that was not well may not reach for long."""
        ended = records.failed(record, problem) if problem else msgspec.structs.replace(record, stage=Stage.DONE)
        if not record.told:
            self._save(ended)
            await self._tell(ended)
            ended = msgspec.structs.replace(ended, told=True)
            self._save(ended)
        await self._p.turns.give_back()
        async with self._change:
            if self._current(ended):
                await asyncio.to_thread(self._p.store.clear)
                self._p.store.save(msgspec.structs.replace(ended, returned=True))

    async def _tell(self, ended: UpdateRecord) -> None:
        problem = ended.problem
        alert = Alert(
            code="image-update-failed" if problem else "image-updated",
            severity=Severity.WARNING if problem else Severity.INFO,
            text=f"image {ended.version}: {problem or 'it runs'}",
        )
        await self._p.outbox.put(alert, durable=True)
        self._p.log.info("the update ended", audit=True, version=ended.version, id=ended.id, problem=problem)
