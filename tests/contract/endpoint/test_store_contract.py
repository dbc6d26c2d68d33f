"""What every Store must do, for each implementation: durable, all or nothing, one after the other, word of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from agents.contracts.codec import decode
from agents.contracts.identity import AtlasSource, EnrolRequest, EnrolStatus
from agents.contracts.ids import node_id
from agents.contracts.ingest import IngestRequest
from agents.core.errors import Rejected
from agents.core.jose import SoftwareKey
from cloud_endpoint.store import (
    audit,
    clients,
    commands,
    devices,
    enrol,
    failed_logins,
    fleet,
    ingest,
    projections,
    retention,
    sites,
)
from cloud_endpoint.store.port import Row, Store, Tx
from tests.fakes.store_kit import NOW, Clock, Opener, batch, enrolled, take


async def test_what_was_written_is_there_after_reopening(store: Store, reopen: Opener) -> None:
    node = await enrolled(store)
    await take(store, node, batch([1, 2, 5]))
    await store.aclose()
    again = await reopen()
    try:
        answer = await take(again, node, batch([2, 3]))
        assert (answer.ack, answer.have) == (3, [(5, 5)])
        assert len(await again.read(lambda tx: fleet.history(tx, "store-1", "beat"))) == 4
    finally:
        await again.aclose()


async def test_a_failed_unit_of_work_leaves_nothing_and_harms_no_other(store: Store) -> None:
    def good(tx: Tx, name: str) -> None:
        sites.put(tx, name, {}, None)

    def bad(tx: Tx) -> None:
        sites.put(tx, "half-done", {}, None)
        raise Rejected("no")

    results = await asyncio.gather(
        store.write(lambda tx: good(tx, "a")),
        store.write(bad),
        store.write(lambda tx: good(tx, "b")),
        return_exceptions=True,
    )
    assert [type(one) for one in results] == [type(None), Rejected, type(None)]
    assert [one.site for one in await store.read(sites.every)] == ["a", "b"]


async def test_waiting_writers_share_commits(store: Store) -> None:
    before = store.stats()
    await asyncio.gather(*(store.write(lambda tx, n=n: sites.put(tx, f"s{n}", {}, None)) for n in range(300)))  # type: ignore[misc]
    after = store.stats()
    assert after["writes"] - before["writes"] == 300
    assert after["commits"] - before["commits"] < 100


async def test_a_reader_may_not_write(store: Store) -> None:
    with pytest.raises(Exception, match=r"readonly|read-only|query_only"):
        await store.read(lambda tx: sites.put(tx, "a", {}, None))
    assert await store.read(sites.every) == []


async def test_listeners_hear_of_commits_alone(store: Store) -> None:
    heard: list[frozenset[str]] = []
    stop = store.listen(heard.append)

    def fails(tx: Tx) -> None:
        tx.notify("site:never")
        raise Rejected("no")

    with pytest.raises(Rejected):
        await store.write(fails)
    await store.write(lambda tx: sites.put(tx, "a", {}, None))
    assert frozenset().union(*heard) == {"site:a"}
    stop()
    await store.write(lambda tx: sites.put(tx, "b", {}, None))
    assert frozenset().union(*heard) == {"site:a"}


async def test_a_cancelled_writer_does_not_stop_the_store(store: Store) -> None:
    task = asyncio.create_task(store.write(lambda tx: sites.put(tx, "a", {}, None)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.write(lambda tx: sites.put(tx, "b", {}, None))
    assert "b" in [one.site for one in await store.read(sites.every)]


async def test_ingest_refuses_a_node_at_another_site_and_a_revoked_one(store: Store) -> None:
    node = await enrolled(store)
    with pytest.raises(ingest.WrongSite):
        await take(store, node, batch([1]), site="store-2")
    assert await store.write(lambda tx: sites.revoke(tx, node))
    with pytest.raises(ingest.WrongSite):
        await take(store, node, batch([1]))
    assert await store.read(lambda tx: fleet.history(tx, "store-1", "beat")) == []


async def test_a_box_that_never_came_leaves_the_list_and_its_name_is_free(store: Store) -> None:
    def ship(tx: Tx, hardware: str) -> None:
        sites.ship(tx, hardware_id=hardware, site="store-1", name="nuc-9", address="", proof="code", code_hash="h")

    await enrolled(store)  # makes the site
    await store.write(lambda tx: ship(tx, "TYPO"))
    with pytest.raises(Rejected, match="revoke it first"):
        await store.write(lambda tx: ship(tx, "NUC-9"))
    assert await store.write(lambda tx: sites.revoke(tx, node_id("TYPO")))
    await store.write(lambda tx: ship(tx, "NUC-9"))
    listed = [one.hardware_id for one in await store.read(lambda tx: sites.shipping(tx, only="store-1"))]
    assert "NUC-9" in listed and "TYPO" not in listed
    assert not await store.write(lambda tx: sites.revoke(tx, node_id("TYPO")))


async def test_a_node_whose_clock_went_back_is_heard_again(store: Store, clock: Clock) -> None:
    """A wipe takes what was known of the time, and a NUC with a flat battery starts at the image's."""
    hour = 3_600_000
    node = await enrolled(store)

    async def last(request: IngestRequest) -> tuple[int | None, int]:
        await take(store, node, request)
        found = await store.read(lambda tx: fleet.node(tx, node))
        assert found is not None
        assert found.beat is not None
        return found.beat_ms, found.beat["up"]

    assert await last(batch([1], run="a" * 16, t=NOW, sent=NOW + 5)) == (NOW, 1)
    clock.ms += 10_000
    assert await last(batch([2], run="b" * 16, t=NOW - hour, sent=NOW - hour + 5)) == (NOW + 10_000, 2)
    clock.ms += 10_000
    assert await last(batch([3], run="c" * 16, t=NOW - 2 * hour, sent=NOW - hour)) == (NOW + 10_000, 2), "older"
    assert await last(batch([4], run="a" * 16, t=NOW + 2000, sent=NOW - hour)) == (NOW + 20_000, 4), "by its clock"
    clock.ms += 10_000
    assert await last(batch([5], run="b" * 16, t=NOW - hour, sent=NOW - hour)) == (NOW + 30_000, 5), "until it beats"


async def test_receipt_is_the_stores_time_and_a_wrong_clock_does_not_hold_back_what_follows(
    store: Store, clock: Clock
) -> None:
    node = await enrolled(store)
    await take(store, node, batch([1], run="a" * 16, t=NOW * 2))
    clock.ms += 5000
    await take(store, node, batch([2], run="b" * 16, t=NOW))
    found = await store.read(lambda tx: fleet.node(tx, node))
    assert found is not None
    assert found.beat is not None
    assert (found.beat_ms, found.beat["up"]) == (NOW + 5000, 2)


async def test_history_is_forgotten_in_time_and_the_latest_stays(store: Store, clock: Clock) -> None:
    node = await enrolled(store)
    await take(store, node, batch(list(range(1, 101))))
    await store.write(lambda tx: audit.raise_alert(tx, site="", node=node, code="x", severity="info", text=""))
    await store.write(lambda tx: clients.use_jti(tx, node, "j" * 22, clock.ms + 1000))
    clock.ms += 3_600_001
    keep = retention.Keep(beats=3_600_000, history=3_600_000, audit=3_600_000)
    assert await store.write(lambda tx: retention.prune(tx, keep)) >= 101
    assert await store.read(lambda tx: fleet.history(tx, "store-1", "beat")) == []
    assert await store.read(audit.alerts) == []
    assert (await store.read(lambda tx: fleet.node(tx, node))).beat is not None  # type: ignore[union-attr]
    assert (await take(store, node, batch([1, 101]))).ack == 101
    assert await store.read(lambda tx: len(fleet.history(tx, "store-1", "beat"))) == 1
    assert await store.write(lambda tx: clients.use_jti(tx, node, "j" * 22, clock.ms + 1000))


async def test_a_jti_is_taken_once_per_client(store: Store) -> None:
    async def use(client: str) -> bool:
        return await store.write(lambda tx: clients.use_jti(tx, client, "j" * 22, NOW + 60_000))

    assert await asyncio.gather(use("a"), use("a"), use("a"), use("b")) == [True, False, False, True]


async def test_a_login_code_burns(store: Store, clock: Clock) -> None:
    key = SoftwareKey.generate().public
    await store.write(lambda tx: clients.add_operator(tx, "ann", key, ["admin"]))
    await store.write(lambda tx: clients.add_login_code(tx, "one", "ann", 60))
    await store.write(lambda tx: clients.add_login_code(tx, "two", "ann", 60))
    take_code = clients.take_login_code
    assert [await store.write(lambda tx: take_code(tx, "one")) for _ in range(2)] == ["ann", None]
    clock.ms += 60_000
    assert await store.write(lambda tx: take_code(tx, "two")) is None


async def test_waiting_devices_are_bounded_but_refusals_stay(store: Store, clock: Clock) -> None:
    def ask(tx: Tx, number: int) -> None:
        request = EnrolRequest(hardware_id=f"hw-{number}", signing=key, sealing=key, proof="")
        devices.remember(tx, node_id(f"hw-{number}"), request, status=EnrolStatus.PENDING, reason="", source="")

    key = SoftwareKey.generate().public
    await store.write(lambda tx: ask(tx, 0))
    first = (await store.read(devices.waiting))[0].id
    await store.write(lambda tx: devices.bar(tx, first))
    for number in range(1, devices.MAX_WAITING + 6):
        clock.ms += 1
        await store.write(lambda tx, n=number: ask(tx, n))  # type: ignore[misc]
    rows = await store.read(lambda tx: devices.waiting(tx, 10_000))
    assert len(rows) == devices.MAX_WAITING + 1
    assert rows[-1].status == "barred"


async def test_a_node_that_invents_names_fills_nothing(store: Store, clock: Clock) -> None:
    node = await enrolled(store)
    app = '{"kind":"deployment","app":"a%d","owner":"o","revision":"r","phase":"healthy","counts":{},"problems":[],'
    app += '"durations":{}}'
    latency = '{"bounds":[],"buckets":[0],"sum":0,"count":0,"max":0}'
    step = '{"step":"s%d","type":"http","ok":1,"failed":0,"latency":' + latency + "}"
    alert = '{"kind":"alert","code":"c%d","severity":"info","text":""}'

    async def send(stream: str, bodies: list[str]) -> None:
        clock.ms += 1
        messages = ",".join(f'{{"seq":{n + 1},"t":1,"m":{body}}}' for n, body in enumerate(bodies))
        run = f"{clock.ms:016x}"
        text = f'{{"v":1,"stream":"{stream}","run":"{run}","messages":[{messages}]}}'
        answer = await take(store, node, decode(text, IngestRequest))
        assert (answer.ack, answer.rejected) == (len(bodies), [])

    for part in range(2):
        numbers = range(part * 600, part * 600 + 600)
        await send("vessel", [app % n for n in numbers])
        await send("vessel", [alert % n for n in numbers])
        windows = [f'{{"kind":"synthetic","scenario":"x{n}","seconds":1,"steps":[{step % n}]}}' for n in numbers]
        await send("synthetic", windows)
    assert len(await store.read(fleet.deployments)) == projections.MAX_APPS
    assert len(await store.read(fleet.synthetics)) == projections.MAX_STEPS
    kept = await store.read(lambda tx: audit.alerts(tx, limit=10_000))
    assert len(kept) == audit.MAX_ALERTS
    assert {int(one.code[1:]) for one in kept} == set(range(700, 1200))


async def test_strangers_fill_no_audit_and_a_second_key_alerts(store: Store) -> None:
    await enrolled(store)

    def ask(tx: Tx, hardware: str) -> EnrolStatus:
        signing, sealing = SoftwareKey.generate().public, SoftwareKey.generate().public
        return enrol.enrol(
            tx, EnrolRequest(hardware_id=hardware, signing=signing, sealing=sealing, proof=""), ""
        ).status

    before = len(await store.read(audit.recent))
    for number in range(30):
        assert await store.write(lambda tx, n=number: ask(tx, f"stranger-{n}")) is EnrolStatus.PENDING  # type: ignore[misc]
        assert await store.write(lambda tx: ask(tx, "hw")) is EnrolStatus.QUARANTINED
    assert len(await store.read(audit.recent)) - before == enrol.MAX_AUDITED
    assert [(one.code, one.count) for one in await store.read(audit.alerts)] == [("second-key", 30)]
    assert len(await store.read(devices.waiting)) == 60


async def test_a_sites_generation_rises_with_each_change_alone(store: Store) -> None:
    atlas = AtlasSource(url="https://git.test/atlas.git")
    generations = []
    for labels in ({}, {}, {"ring": "1"}, {"ring": "1"}):
        generations.append((await store.write(lambda tx, new=labels: sites.put(tx, "s", new, atlas))).generation)  # type: ignore[misc]
    assert generations == [1, 1, 2, 2]


async def test_sequences_are_never_given_again(store: Store, clock: Clock) -> None:
    node = await enrolled(store)

    def insert(tx: Tx, sequence: int) -> None:
        tx.execute(
            "INSERT INTO commands (node, sequence, site, command_id, verb, signed, by_whom, created_ms, expires_ms)"
            " VALUES (?, ?, 'store-1', ?, 'sync', '{}', 'op:a', ?, ?)",
            (node, sequence, f"{sequence:032x}", tx.now_ms, tx.now_ms + 1000),
        )

    for sequence in (1, 2, 3):
        await store.write(lambda tx, n=sequence: insert(tx, n))  # type: ignore[misc]
    assert await store.read(lambda tx: commands.highest_waiting(tx, node)) == 3
    clock.ms += 10**9
    await store.write(lambda tx: retention.prune(tx, retention.Keep(beats=1, history=1, audit=1)))
    assert await store.read(lambda tx: commands.highest(tx, node)) == 3
    assert await store.read(lambda tx: commands.highest_waiting(tx, node)) == 0
    assert len(await store.read(lambda tx: commands.of_node(tx, node))) == 1


async def test_a_store_restored_from_a_backup_numbers_commands_above_what_the_node_used(
    store: Store, clock: Clock
) -> None:
    def insert(tx: Tx, sequence: int) -> None:
        tx.execute(
            "INSERT INTO commands (node, sequence, site, command_id, verb, signed, by_whom, created_ms, expires_ms)"
            " VALUES ('n', ?, 's', ?, 'sync', ?, 'op:a', ?, ?)",
            (
                sequence,
                f"{sequence:032x}",
                '{"payload":"p","signatures":[{"protected":"h","signature":"s"}]}',
                tx.now_ms,
                tx.now_ms + 10**7,
            ),
        )

    await store.write(lambda tx: insert(tx, 3))
    for used in (7, 5):
        await store.write(lambda tx, n=used: commands.consumed(tx, "n", n))  # type: ignore[misc]
    assert await store.read(lambda tx: (commands.highest(tx, "n"), commands.highest(tx, "other"))) == (7, 0)
    assert await store.read(lambda tx: commands.waiting(tx, "n", 7)) == []  # its answer may be on the way
    clock.ms += commands.PASSED_MS + 1
    assert len(await store.read(lambda tx: commands.waiting(tx, "n", 7))) == 1  # the node is asked what became of it


async def test_refused_logins_are_counted_and_cannot_fill_the_audit(store: Store, clock: Clock) -> None:
    for _ in range(50):
        await store.write(lambda tx: failed_logins.note(tx, "192.0.2.1"))
    for n in range(failed_logins.MAX_SOURCES + 50):
        await store.write(lambda tx, n=n: failed_logins.note(tx, f"198.51.100.{n}"))  # type: ignore[misc]
    lines = await store.read(lambda tx: audit.recent(tx, limit=1000))
    assert len(lines) == failed_logins.MAX_SOURCES + 1
    assert (lines[-1].source, lines[-1].outcome, lines[-1].detail) == (
        "192.0.2.1",
        "refused",
        "50 tries within an hour",
    )
    assert (lines[0].source, lines[0].detail) == ("others", "51 tries within an hour")
    clock.ms += failed_logins.WINDOW_MS
    await store.write(lambda tx: failed_logins.note(tx, "192.0.2.1"))
    lines = await store.read(lambda tx: audit.recent(tx, limit=1000))
    assert (lines[0].source, lines[0].detail) == ("192.0.2.1", "1 try within an hour")


class Counted:
    """A transaction that counts its statements."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self.now_ms = tx.now_ms
        self.statements: list[str] = []

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        self.statements.append(sql)
        return self._tx.execute(sql, parameters)

    def notify(self, topic: str) -> None:
        self._tx.notify(topic)


async def test_a_request_of_a_thousand_dropped_ranges_holds_the_writer_for_few_statements(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "MAX_GAPS", 1500)
    node = await enrolled(store)
    ranges = ",".join(f'[{2 * n},{2 * n},"k{n}"]' for n in range(1, 1001))

    def dropped(run: str) -> Callable[[Tx], int]:
        text = f'{{"v":1,"stream":"heartbeat","run":"{run}","dropped":[{ranges}]}}'
        request = decode(text, IngestRequest)

        def work(tx: Tx) -> int:
            counted = Counted(tx)
            answer = ingest.ingest(counted, node, "store-1", request, ingest.read(request))
            assert (answer.ack, len(answer.have)) == (0, 1000)
            return len(counted.statements)

        return work

    assert await store.write(dropped("a" * 16)) < 12
    assert await store.write(dropped("b" * 16)) < 12
    kept = await store.read(lambda tx: ingest.gaps(tx, node, limit=5000))
    assert len(kept) == 1500
    assert [(gap.run[0], gap.first, gap.kind) for gap in (kept[0], kept[999], kept[1000])] == [
        ("b", 2000, "k1000"),
        ("b", 2, "k1"),
        ("a", 2000, "k1000"),
    ]
    await store.write(dropped("a" * 16))
    assert len(await store.read(lambda tx: ingest.gaps(tx, node, limit=5000))) == 1500
