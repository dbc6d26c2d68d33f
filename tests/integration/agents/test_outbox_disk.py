"""The outbox on a bad disk: full, corrupt, foreign, shared."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from agents.contracts.codec import decode
from agents.contracts.ids import Stream
from agents.contracts.ingest import IngestAnswer
from agents.contracts.messages import Alert, Beat, Severity
from agents.core.errors import Rejected, Retryable
from agents.io.clock import SystemClock
from agents.io.outbox import SqliteOutbox, count
from tests.fakes.cloud import FakeCloud

ROOT = Path(__file__).parents[3]
FULL = """
import asyncio, resource, sys
from pathlib import Path
from agents.contracts.ids import Stream
from agents.contracts.messages import Alert, Severity
from agents.core.errors import Retryable
from agents.io.clock import SystemClock
from agents.io.outbox import SqliteOutbox
from tests.fakes.cloud import FakeCloud

async def main():
    outbox = await SqliteOutbox.open(Path(sys.argv[1]), Stream.VESSEL, "boot", SystemClock())
    limit = lambda n: resource.setrlimit(resource.RLIMIT_FSIZE, (n, resource.RLIM_INFINITY))
    limit(300_000)
    stored, refused = [], 0
    while refused < 3:
        try:
            stored.append(await outbox.put(Alert(code="c", severity=Severity.INFO, text="x" * 4000), durable=True))
        except Retryable as error:
            assert sys.argv[1] in str(error), error
            refused += 1
    assert await outbox.pending() == len(stored), "what was stored before is lost"
    limit(resource.RLIM_INFINITY)
    after = await outbox.put(Alert(code="c", severity=Severity.INFO, text="after"), durable=True)
    cloud = FakeCloud()
    while (request := await outbox.batch(1000, 10**6)) is not None:
        await outbox.settle(request, cloud.take(request))
    (run,) = cloud.runs.values()
    assert set(run.messages) == {*stored, after} == set(range(1, after + 1)), (stored, after)
    await outbox.aclose()
    print(len(stored))
asyncio.run(main())
"""


def alert(text: str) -> Alert:
    return Alert(code="c", severity=Severity.INFO, text=text)


async def opened(path: Path, boot: str = "boot", stream: Stream = Stream.HEARTBEAT, **bounds: int) -> SqliteOutbox:
    return await SqliteOutbox.open(path, stream, boot, SystemClock(), **bounds)


async def drain(outbox: SqliteOutbox, cloud: FakeCloud) -> None:
    while (request := await outbox.batch(1000, 10**6)) is not None:
        await outbox.settle(request, cloud.take(request))


def test_a_file_that_may_not_grow_is_retryable_keeps_all_and_recovers(tmp_path: Path) -> None:
    """The limit on a file's size (SIGXFSZ ignored by Python) stands for a disk without space."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "outbox.db")],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 5


@pytest.mark.parametrize("damage", ["zeroes", "text", "empty", "middle"])
async def test_a_corrupt_file_is_set_aside_and_reported(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "outbox.db"
    outbox = await opened(path)
    for n in range(200):
        await outbox.put(alert(f"{n}" * 40))
    old = outbox.run
    await outbox.aclose()
    data = bytearray(path.read_bytes())
    if damage == "middle":
        for page in range(3, len(data) // 4096):
            data[page * 4096 : page * 4096 + 64] = os.urandom(64)
    path.write_bytes({"zeroes": bytes(len(data)), "text": b"no database" * 99, "empty": b"", "middle": data}[damage])
    before = path.read_bytes()
    outbox = await opened(path)
    assert [one.name for one in outbox.quarantined] == ["outbox.db.corrupt-1"]
    assert outbox.quarantined[0].read_bytes() == before
    assert outbox.run != old
    request = await outbox.batch(10, 10**5)
    assert request is not None
    (message,) = request.messages
    assert decode(bytes(message.m), Alert).code == "outbox-corrupt"
    await outbox.aclose()


async def test_corruption_met_while_running_is_set_aside_too(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = await opened(path)
    for n in range(300):
        await outbox.put(alert(f"{n}" * 40))
    await outbox.aclose()
    outbox = await opened(path)
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    path.write_bytes(data)
    outbox._writer.store.db.execute("PRAGMA shrink_memory")
    seq = await outbox.put(alert("after"), durable=True)
    assert outbox.quarantined
    cloud = FakeCloud()
    await drain(outbox, cloud)
    run = cloud.runs[outbox.run]
    assert b"outbox-corrupt" in run.messages[1] and b"after" in run.messages[seq]
    await outbox.aclose()


async def test_a_new_boot_is_a_new_run_and_the_old_one_is_sent_under_its_own(tmp_path: Path) -> None:
    path, cloud = tmp_path / "outbox.db", FakeCloud()
    outbox = await opened(path, "boot-1")
    first = outbox.run
    await outbox.put(alert("one"))
    await outbox.aclose()
    outbox = await opened(path, "boot-1")
    assert outbox.run == first, "a restart is no boot"
    await outbox.put(alert("two"))
    await outbox.aclose()
    outbox = await opened(path, "boot-2")
    second = outbox.run
    assert second != first
    assert await outbox.put(alert("three")) == 1
    assert await outbox.pending() == 3
    await drain(outbox, cloud)
    assert {run: len(known.messages) for run, known in cloud.runs.items()} == {first: 2, second: 1}
    await outbox.aclose()


async def test_what_was_evicted_is_declared_until_it_is_acknowledged(tmp_path: Path) -> None:
    path, cloud = tmp_path / "outbox.db", FakeCloud()
    outbox = await opened(path, max_rows=10)
    for n in range(30):
        await outbox.put(Beat(boot="00000000", up=n, ok=1))
    request = await outbox.batch(5, 10**5)
    assert request is not None and request.dropped == [(1, 20, "beat")]
    await outbox.settle(request, IngestAnswer(ack=0, have=[(26, 30)], rejected=[], server_time=1))
    again = await outbox.batch(5, 10**5)
    assert again is not None and again.dropped == [(1, 20, "beat")]
    await drain(outbox, cloud)
    assert await outbox.batch(5, 10**5) is None
    (run,) = cloud.runs.values()
    assert len(run.dropped) == 20 and len(run.messages) == 5
    await outbox.aclose()


async def test_one_process_at_a_time_but_anyone_may_count(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = await opened(path)
    await outbox.put(alert("one"))
    with pytest.raises(Retryable, match="in use"):
        await opened(path)
    assert count(path) == 1
    await outbox.aclose()
    await (await opened(path)).aclose()
    with pytest.raises(Retryable):
        count(tmp_path / "none.db")


async def test_another_streams_file_and_a_newer_schema_are_rejected_untouched(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    await (await opened(path)).aclose()
    with pytest.raises(Rejected, match="stream heartbeat, not vessel"):
        await opened(path, stream=Stream.VESSEL)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(Rejected, match="schema 99"):
        await opened(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["outbox.db", "outbox.db.lock"]


async def test_a_missing_directory_is_retryable(tmp_path: Path) -> None:
    with pytest.raises(Retryable, match="No such file"):
        await opened(tmp_path / "none" / "outbox.db")


async def test_many_durable_puts_share_a_commit(tmp_path: Path) -> None:
    import asyncio

    outbox = await opened(tmp_path / "outbox.db")
    before = outbox.commits
    await asyncio.gather(*(outbox.put(alert("x"), durable=True) for _ in range(500)))
    assert outbox.commits - before < 50
    assert await outbox.pending() == 500
    await outbox.aclose()


async def test_a_report_too_long_for_its_contract_is_stored_cut(tmp_path: Path) -> None:
    outbox = await opened(tmp_path / "outbox.db")
    await outbox.put(alert("x" * 100_000))
    request = await outbox.batch(10, 10**6)
    assert request is not None
    text = decode(bytes(request.messages[0].m), Alert).text
    assert len(text) == 4096 and text.endswith("...")
    with pytest.raises(Rejected, match="out of contract"):
        await outbox.put(Beat(boot="not hex!", up=1, ok=1))
    await outbox.aclose()


async def test_a_log_without_its_file_is_set_aside_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.with_name("outbox.db-wal").write_bytes(b"what was a log")
    outbox = await opened(path)
    assert (tmp_path / "outbox.db.corrupt-1-wal").read_bytes() == b"what was a log"
    assert await outbox.pending() == 1
    await outbox.aclose()
    outbox = await opened(path)
    assert await outbox.pending() == 1, "reported once"
    await outbox.aclose()
