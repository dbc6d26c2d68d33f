"""A machine of two roots in process, whose power may go before each durable step, and the life of one update in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog

from agents.contracts.command import Command, JwsSignature, SignedCommand, Verb
from agents.contracts.messages import Alert
from agents.contracts.release import ImageRelease, ReleaseFile
from agents.core.errors import Retryable
from agents.core.releases import sign_release
from edge_commander.update.store import UpdateStore
from edge_commander.update.updater import Parts, Updater
from tests.fakes import trust_kit
from tests.fakes.clock import VirtualClock

FILES = {"root.img": b"root " * 300, "kernel-a.efi": b"a" * 100, "kernel-b.efi": b"b" * 100}


def file(name: str) -> ReleaseFile:
    return ReleaseFile(sha256=hashlib.sha256(FILES[name]).hexdigest(), size=len(FILES[name]))


RELEASE = ImageRelease(
    version="1.3.0", root=file("root.img"), kernel_a=file("kernel-a.efi"), kernel_b=file("kernel-b.efi"),
    issued=trust_kit.NOW,
)  # fmt: skip
SIGNED = SignedCommand(payload="as it came", signatures=[JwsSignature(protected="p", signature="s")])


class Cut(BaseException):
    """The power is gone."""


class Box:
    """A machine: what is on its disks outlives its starts. `starts`: whether the new image does; `well`: and is."""

    def __init__(self, folder: Path, *, starts: bool = True, well: bool = True) -> None:
        self.folder, self.starts, self.well = folder, starts, well
        self.document = sign_release(RELEASE, [trust_kit.ALICE])
        self.boot, self.slot, self.versions = 1, "a", {"a": "1.2.0", "b": ""}
        self.entry_b, self.tries = False, 0
        self.holder, self.unready = "", ""
        self.alerts: list[Alert] = []
        self.steps, self.cut_at = 0, 0
        self.clock = VirtualClock()
        self.updater: Updater
        self.start()

    def tick(self) -> None:
        """One step that a power cut may come before."""
        self.steps += 1
        if self.steps == self.cut_at:
            raise Cut

    def start(self) -> None:
        store = UpdateStore(self.folder, self.folder / "fetched")
        save = store._file.save

        def saved(record: Any) -> None:
            self.tick()
            save(record)
            self.tick()

        store._file.save = saved  # type: ignore[method-assign]
        self.updater = Updater(
            Parts(
                store=store,
                fetcher=Line(self),  # type: ignore[arg-type]
                image=Running(self),
                root=Half(self),
                turns=Site(self),
                operators=trust_kit.operators,
                signed=lambda command_id: SIGNED,
                member=lambda: True,
                boot=f"boot-{self.boot}",
                outbox=Told(self),  # type: ignore[arg-type]
                clock=self.clock,
                uniform=lambda low, high: high,
                log=structlog.get_logger(),
            )
        )

    def power(self) -> None:
        """It starts again, as the boot loader chooses."""
        self.boot += 1
        self.slot = "a"
        if self.entry_b and self.versions["b"]:
            if self.tries > 0 or self.tries == -1:
                self.tries -= self.tries > 0
                self.slot = "b"
            if self.slot == "b" and self.tries != -1 and not self.starts:
                return self.power()
            if self.slot == "b" and self.tries != -1:
                if not self.well:
                    return self.power()
                self.tries = -1
        self.start()
        return None


class Running:
    def __init__(self, box: Box) -> None:
        self.box = box

    def slot(self) -> str:
        return self.box.slot

    def version(self) -> str:
        return self.box.versions[self.box.slot]

    def trial(self) -> bool:
        return self.box.slot == "b" and self.box.tries >= 0


class Half:
    def __init__(self, box: Box) -> None:
        self.box = box

    async def install(self, signed: SignedCommand) -> None:
        box = self.box
        assert signed == SIGNED
        data = (box.folder / "fetched" / "root.img").read_bytes()
        assert data == FILES["root.img"]
        box.entry_b, box.versions["b"] = False, ""
        box.tick()
        box.versions["b"] = "1.3.0"
        box.tick()
        box.entry_b, box.tries = True, 3
        box.tick()

    async def reboot(self) -> None:
        raise Cut


class Site:
    def __init__(self, box: Box) -> None:
        self.box = box

    async def look(self) -> tuple[bool, str, str]:
        held = self.box.holder
        return held == "me", held if held != "me" else "", self.box.unready

    async def take(self) -> None:
        assert not self.box.holder
        self.box.holder = "me"
        self.box.tick()

    async def give_back(self) -> None:
        if self.box.holder == "me":
            self.box.holder = ""
        self.box.tick()


class Told:
    def __init__(self, box: Box) -> None:
        self.box = box

    async def put(self, body: Alert, *, durable: bool) -> None:
        assert durable
        self.box.tick()
        self.box.alerts.append(body)
        self.box.tick()


class Line:
    """Gives a third of a file, then fails, as often as it takes."""

    def __init__(self, box: Box) -> None:
        self.box = box

    def _path(self, name: str) -> Path:
        return self.box.folder / "fetched" / name

    def begun(self, name: str) -> int:
        return self._path(name).stat().st_size if self._path(name).exists() else 0

    async def document(self, url: str, limit: int) -> bytes:
        self.box.tick()
        return self.box.document

    async def file(self, url: str, name: str, wanted: ReleaseFile, came: Callable[[int], None]) -> None:
        have = self.begun(name)
        self._path(name).write_bytes(FILES[name][: have + 1 + len(FILES[name]) // 3])
        self.box.tick()
        if self.begun(name) < wanted.size:
            raise Retryable("the line is down")


def command(box: Box, **args: str) -> Command:
    known = {
        "version": "1.3.0",
        "sha256": hashlib.sha256(box.document).hexdigest(),
        "address": "https://images.example",
    }
    return Command(id="a" * 32, verb=Verb.UPGRADE, site="store-1", node="n-" + "a" * 16, sequence=1, challenge="c",
                   issued=1, expires=2, args={**known, **args})  # fmt: skip


def another(box: Box) -> Command:
    return msgspec.structs.replace(command(box), id="b" * 32)


async def live(box: Box, turns: int = 60) -> None:
    """Until the update is told; power comes back after each cut."""
    for _ in range(turns):
        try:
            if box.updater._p.store.record is None:
                outcome = await box.updater.upgrade(command(box))
                assert outcome.result == "done", outcome
            await box.updater.turn()
        except Cut:
            box.power()
        record = box.updater._p.store.record
        if record is not None and record.told and record.returned:
            return
    raise AssertionError("the update never ended")
