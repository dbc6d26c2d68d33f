"""How far an image's update is, and what it waits for, as `edge-commander status` shows it."""

from __future__ import annotations

from pathlib import Path

from agents.contracts.messages import NodeState
from edge_commander.memory import Memory
from edge_commander.reasons import NOTHING
from edge_commander.shown import as_text
from edge_commander.surroundings import Surroundings
from edge_commander.view import Around, StatusDocument


class Times:
    confirmed = True

    def now_ms(self) -> int:
        return 0

    def problem(self) -> object:
        return NOTHING


async def never() -> object:
    raise AssertionError("no wipe is under way")


def text(around: Around) -> str:
    document = StatusDocument(state=NodeState.READY, reason="", since=0, node="n-1", site="s", around=around)
    return as_text(document, running=True, now_ms=0)


async def test_what_an_update_waits_for_stands_in_the_status_while_there_is_one(tmp_path: Path) -> None:
    around = Surroundings(Memory(tmp_path), Times(), disks={}, members=list, wipe=never)  # type: ignore[arg-type]
    assert "update" not in text(await around.around())
    around.update = lambda: "image 1.3.0, is fetched; waits: nuc-2 is updated first"
    assert "\nupdate   image 1.3.0, is fetched; waits: nuc-2 is updated first\n" in text(await around.around())
