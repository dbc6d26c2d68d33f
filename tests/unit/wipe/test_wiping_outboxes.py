"""What outboxes hold that nobody acknowledged: read beside a daemon, after a killed one, waited for, declared."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from agents.contracts.ids import Stream
from agents.contracts.messages import Alert, Severity
from agents.core.errors import Retryable
from agents.io.outbox import SqliteOutbox
from agents.io.outbox.unsent import unsent
from edge_commander.machine.outboxes import shown, to_record
from edge_commander.wipe import record as records
from edge_commander.wipe.journal import SLOT, Slot, encode_slot
from edge_commander.wipe.record import MAX_RANGES, MAX_UNSENT, Target, Unsent, WipeRecord
from edge_commander.wiping.outboxes import UNREADABLE, Heard, declarations
from tests.fakes import wipe_kit as kit
from tests.fakes.clock import VirtualClock

ALERT = Alert(code="c", severity=Severity.INFO, text="t")


async def opened(folder: Path, boot: str = "boot") -> SqliteOutbox:
    folder.mkdir(parents=True, exist_ok=True)
    return await SqliteOutbox.open(folder / "outbox.db", Stream.COMMANDER, boot, VirtualClock())


async def test_read_beside_the_daemon_that_writes_it(tmp_path: Path) -> None:
    outbox = await opened(tmp_path / "edge-commander")
    try:
        for _ in range(3):
            await outbox.put(ALERT, durable=True)
        (run,) = unsent(tmp_path / "edge-commander/outbox.db")
        assert (run.run, run.next, run.ranges) == (outbox.run, 4, ((1, 3),))
        assert await outbox.put(ALERT) == 4  # it was not disturbed
    finally:
        await outbox.aclose()


async def test_read_after_its_daemon_was_killed_or_stopped(tmp_path: Path) -> None:
    outbox = await opened(tmp_path / "live")
    await outbox.put(ALERT, durable=True)
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("outbox.db", "outbox.db-wal"):  # what a power cut leaves: the log, and no index of it
        shutil.copyfile(tmp_path / "live" / name, killed / name)
    assert [one.ranges for one in unsent(killed / "outbox.db")] == [((1, 1),)]
    assert sorted(one.name for one in killed.iterdir()) == ["outbox.db", "outbox.db-wal"]
    await outbox.aclose()
    assert [one.ranges for one in unsent(tmp_path / "live/outbox.db")] == [((1, 1),)]


async def test_what_is_no_outbox_is_said_and_loses_the_others_nothing(tmp_path: Path) -> None:
    outbox = await opened(tmp_path / "edge-commander")
    await outbox.put(ALERT, durable=True)
    await outbox.aclose()
    (tmp_path / "vessel").mkdir()
    (tmp_path / "vessel/outbox.db").write_text("rubbish " * 1000)
    with pytest.raises(Retryable, match="vessel"):
        unsent(tmp_path / "vessel/outbox.db")
    assert [(one["stream"], bool(one["problem"])) for one in shown(tmp_path)] == [
        ("heartbeat", False), ("vessel", True), ("synthetic", False), ("commander", False),
    ]  # fmt: skip
    said: list[str] = []
    (found,) = to_record(tmp_path, said.append)
    assert (found.stream, found.ranges, len(said)) == (Stream.COMMANDER, [(1, 1)], 1)


def test_what_was_said_by_the_first_look_is_waited_for_and_later_beats_are_not() -> None:
    def look(ranges: list[list[int]], after: int) -> list[dict[str, object]]:
        return [{"stream": "heartbeat", "problem": "", "runs": [{"run": "r", "next": after, "ranges": ranges}]}]

    heard = Heard.first(look([[4, 9]], 10), 0.0)
    assert heard.left(look([[9, 9]], 11)) == ["heartbeat"]
    assert heard.left(look([[10, 12]], 13)) == []
    assert heard.left(None) == [UNREADABLE]


def test_a_record_with_all_that_it_may_hold_fits_into_its_slot_and_older_ones_load() -> None:
    one = Unsent(stream=Stream.HEARTBEAT, run="f" * 16, ranges=[(2**53 - 2, 2**53 - 1)] * MAX_RANGES)
    command, signed = kit.command(), kit.signed()
    record = records.armed(signed, command, [Target.VAR], [one] * MAX_UNSENT)
    assert len(encode_slot(Slot(2**63, record))) <= SLOT
    built = msgspec.to_builtins(record)
    old = {key: value for key, value in built.items() if key != "unsent"}
    assert msgspec.convert(old, WipeRecord).unsent == []
    (stream, request) = declarations(built)[0]
    assert (stream, request.run, request.dropped[0]) == (Stream.HEARTBEAT, "f" * 16, (2**53 - 2, 2**53 - 1, "mixed"))
    assert len(request.dropped) == MAX_RANGES
