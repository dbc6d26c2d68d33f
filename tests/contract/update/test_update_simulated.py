"""Whole updates of one node in process, cut at every durable step and at random ones: it ends in the new image or in
the old one, told once, and the turn is given back."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import msgspec
import pytest

from agents.contracts.command import Command, SignedCommand
from agents.core.errors import Rejected
from agents.core.jose import SoftwareKey
from agents.core.releases import sign_release
from edge_commander.update.record import Stage
from tests.fakes.update_box import RELEASE, Box, Cut, another, command, live


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


async def test_another_build_of_the_same_number_is_not_taken_for_the_one_that_runs(tmp_path: Path) -> None:
    """It was told as an update that runs, without a byte of it being asked for."""
    box = Box(tmp_path)
    await live(box)
    assert (await box.updater.upgrade(another(box))).result == "done"  # the very same release
    await live(box)
    for change in ({"sha256": "0" * 64}, {"sha256": "1" * 64, "address": "https://elsewhere.example"}):
        outcome = await box.updater.upgrade(msgspec.structs.replace(command(box, **change), id="c" * 32))
        assert outcome.result == "refused" and "runs an image 1.3.0 already" in outcome.detail
    assert [one.code for one in box.alerts] == ["image-updated"] * 2


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


async def test_a_root_half_that_refuses_ends_it(tmp_path: Path) -> None:
    box = Box(tmp_path)

    async def refuses(signed: SignedCommand) -> None:
        raise Rejected("the partition is too small")

    box.updater._p.root.install = refuses  # type: ignore[method-assign]
    await live(box)
    assert box.alerts[0].text == "image 1.3.0: the partition is too small"
    assert box.holder == ""
