"""Two commands, or a command and a cluster that is away, meet at one node: nothing that was taken up is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.contracts.command import SignedCommand
from agents.core.errors import Rejected, Retryable
from edge_commander.update.fetch import Mismatch
from edge_commander.update.record import Stage
from tests.fakes.update_box import Box, Half, Line, Site, another, command, live


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
