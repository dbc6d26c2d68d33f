"""Whole updates of one node in process, cut at every durable step and at random ones: it ends in the new image or in
the old one, told once, and the turn is given back."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from agents.contracts.command import Command, JwsSignature, SignedCommand, Verb
from agents.contracts.messages import Alert
from agents.contracts.release import ImageRelease, ReleaseFile
from agents.core.errors import Rejected, Retryable
from agents.core.jose import SoftwareKey
from agents.core.releases import sign_release
from edge_commander.update.fetch import Mismatch
from edge_commander.update.record import Stage
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


async def test_undisturbed_it_runs_the_new_image_and_says_so_once(tmp_path: Path) -> None:
    box = Box(tmp_path)
    await live(box)
    assert (box.slot, box.versions["b"], box.holder) == ("b", "1.3.0", "")
    assert [one.code for one in box.alerts] == ["image-updated"]
    assert not (tmp_path / "fetched").exists()
    assert box.updater.shown() == ""


async def test_an_older_image_is_not_taken_up_as_the_boot_loader_would_not_start_it(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.versions["a"] = "1.10.0"
    outcome = await box.updater.upgrade(command(box))
    assert outcome.result == "refused"
    assert outcome.detail == "this node runs 1.10.0, and the newest of two images is started"
    assert box.updater._p.store.record is None


@pytest.mark.parametrize("bad", ["starts", "well"])
async def test_an_image_that_does_not_start_or_is_not_well_is_left_again(tmp_path: Path, bad: str) -> None:
    box = Box(tmp_path, **{bad: False})
    await live(box)
    assert (box.slot, box.holder) == ("a", "")
    assert [one.code for one in box.alerts] == ["image-update-failed"]
    assert "the node runs 1.2.0 again" in box.alerts[0].text


def steps_of_a_life(folder: Path) -> int:
    box = Box(folder)
    asyncio.run(live(box))
    return box.steps


def test_cut_before_each_step_it_ends_as_the_undisturbed_one(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    count = steps_of_a_life(tmp_path / "whole")
    assert count > 15
    for at in range(1, count + 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        box = Box(folder)
        box.cut_at = at
        asyncio.run(live(box))
        assert (box.slot, box.versions["b"], box.holder) == ("b", "1.3.0", ""), at
        assert {one.code for one in box.alerts} == {"image-updated"}, at
        assert len(box.alerts) <= 2, at  # cut between the outbox and the record, it is said again


def test_random_lives_end_in_one_of_the_two_images(tmp_path: Path) -> None:
    for seed in range(200):
        rng = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        box = Box(folder, starts=rng.random() < 0.8, well=rng.random() < 0.8)

        async def life(box: Box = box, rng: random.Random = rng) -> None:
            box.cut_at = rng.randrange(1, 30)
            for _ in range(4):
                try:
                    await live(box, 40)
                except AssertionError:
                    box.cut_at = 0
                else:
                    return
                box.cut_at = box.steps + rng.randrange(1, 10)

        asyncio.run(life())
        good = box.starts and box.well
        assert box.slot == ("b" if good else "a"), seed
        assert box.holder == "", seed


async def test_a_document_of_nobody_s_ends_it_with_nothing_changed(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.document = sign_release(RELEASE, [SoftwareKey.generate("Ed25519")])
    await live(box)
    assert (box.slot, box.versions["b"], box.entry_b) == ("a", "", False)
    assert "the release is refused: signed by an unknown key" in box.alerts[0].text


async def test_another_document_than_the_ordered_one_is_given_up_in_the_end(tmp_path: Path) -> None:
    box = Box(tmp_path)
    await box.updater.upgrade(command(box, sha256="0" * 64))
    await live(box)
    assert "3 times a file came with other bytes" in box.alerts[0].text


async def test_while_one_is_on_trial_no_other_is_taken(tmp_path: Path) -> None:
    box = Box(tmp_path)
    await box.updater.upgrade(command(box))
    box.holder = "nuc-2"
    for _ in range(12):
        await box.updater.turn()
    assert box.updater.shown() == "image 1.3.0, is fetched; waits: nuc-2 is updated first"
    box.holder = ""
    with pytest.raises(Cut):
        for _ in range(12):
            await box.updater.turn()
    assert box.updater._p.store.record is not None
    assert box.updater._p.store.record.stage is Stage.TRIAL
    other = Command(**{**{name: getattr(command(box), name) for name in Command.__struct_fields__}, "id": "b" * 32})
    assert (await box.updater.upgrade(other)).result == "refused"


async def test_a_cluster_that_is_not_reached_keeps_no_end_from_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that came back from an image that was not well may be out of its cluster for long."""
    box = Box(tmp_path, well=False)
    give_back = Site.give_back

    async def away(site: Site) -> None:
        raise Retryable("the API server does not answer")

    monkeypatch.setattr(Site, "give_back", away)
    with pytest.raises(AssertionError, match="never ended"):
        await live(box)
    assert [one.code for one in box.alerts] == ["image-update-failed"] and box.holder == "me"
    box.start()
    monkeypatch.setattr(Site, "give_back", give_back)
    await live(box)
    assert len(box.alerts) == 1 and box.holder == ""


async def test_one_that_is_ordered_while_another_is_fetched_takes_its_place_whatever_becomes_of_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, error in enumerate((Rejected("gone"), Mismatch("other bytes"), Retryable("the line is down"), None)):
        box = Box(tmp_path / str(number))
        box.folder.mkdir()
        await box.updater.upgrade(command(box, address="https://elsewhere.example"))
        await box.updater.turn()  # its document
        fetch = Line.file

        async def meanwhile(line: Line, url: str, name: str, wanted: Any, came: Any, error: Any = error) -> None:
            came(1)
            assert (await line.box.updater.upgrade(another(line.box))).result == "done"
            with pytest.raises(Retryable, match="another update was ordered"):
                came(2)
            if error is not None:
                raise error

        with monkeypatch.context() as patched:
            patched.setattr(Line, "file", meanwhile)
            await box.updater.turn()
        assert Line.file is fetch
        record = box.updater._p.store.record
        assert record is not None and (record.id, record.stage) == ("b" * 32, Stage.FETCH), error
        await live(box)
        assert [one.code for one in box.alerts] == ["image-updated"], error


async def test_one_that_is_ordered_while_another_is_installed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was fetched for that would be taken from under the root half, and this one's record be written over."""
    box = Box(tmp_path)
    install, said = Half.install, list[str]()

    async def meanwhile(half: Half, signed: SignedCommand) -> None:
        outcome = await half.box.updater.upgrade(another(half.box))
        said.append(f"{outcome.result}: {outcome.detail}")
        await install(half, signed)

    monkeypatch.setattr(Half, "install", meanwhile)
    await live(box)
    assert said == ["refused: the update to 1.3.0 is put into the idle root: it ends first"]
    assert [one.code for one in box.alerts] == ["image-updated"]


async def test_a_root_half_that_refuses_ends_it(tmp_path: Path) -> None:
    box = Box(tmp_path)

    async def refuses(signed: SignedCommand) -> None:
        raise Rejected("the partition is too small")

    box.updater._p.root.install = refuses  # type: ignore[method-assign]
    await live(box)
    assert box.alerts[0].text == "image 1.3.0: the partition is too small"
    assert box.holder == ""
