"""Ingest as one unit of work: dedupe, settle, project, answer. SQL of runs, gaps and dead letters."""

from __future__ import annotations

from dataclasses import dataclass

from agents.contracts.codec import ContractError, encode
from agents.contracts.ingest import Envelope, IngestAnswer, IngestRequest, Rejected, read_body
from agents.contracts.messages import Body
from agents.core.errors import Rejected as RejectedError
from cloud_endpoint.records import DeadLetterRecord, GapRecord, StreamRecord
from cloud_endpoint.rules.newer import Position, stored_ms
from cloud_endpoint.rules.ranges import Ranges, ack_and_have, contains, parts_to_add, union
from cloud_endpoint.store import audit, commands, devices
from cloud_endpoint.store.port import Row, Tx
from cloud_endpoint.store.projections import Arrived, apply
from cloud_endpoint.store.text import dump, load, record

MAX_RANGES = 2000
"""Separate settled ranges of one run; an outbox makes a handful."""
MAX_RUNS = 200
"""Runs kept per node and stream; a run is a boot. The longest silent is forgotten first."""
MAX_DEAD_LETTERS = 1000
"""Per node."""
MAX_GAPS = 10_000
"""Per node."""
_ROWS = 500
"""Rows of one INSERT: seven parameters each, well below what SQLite and PostgreSQL take."""


class WrongSite(RejectedError):
    """The token's site is not where the device is enrolled now, or the device is not enrolled."""


@dataclass(frozen=True)
class Read:
    """An envelope with its body, or with what is wrong with it."""

    envelope: Envelope
    body: Body | None
    problem: str = ""


def read(request: IngestRequest) -> list[Read]:
    """Decodes the bodies, outside any transaction. Raises ContractError for a range that ends before it begins."""
    for index, (first, last, _) in enumerate(request.dropped):
        if first > last:
            raise ContractError(f"a range must not end before it begins - at `$.dropped[{index}]`")
    found = []
    for envelope in request.messages:
        try:
            found.append(Read(envelope, read_body(request.stream, envelope)))
        except ContractError as error:
            found.append(Read(envelope, None, str(error)))
    return found


def ingest(tx: Tx, node: str, site: str, request: IngestRequest, messages: list[Read]) -> IngestAnswer:
    """Stores what is new. Raises WrongSite, or RejectedError when the run is in too many pieces; then nothing is."""
    device = devices.get(tx, node)
    if device is None or device.status != "enrolled" or device.site != site:
        raise WrongSite("the device is not enrolled at the site that the token names")
    run, settled = _run(tx, node, request)
    dropped = parts_to_add(settled, request.dropped)
    settled = union(settled, [(first, last) for first, last, _ in dropped])
    new = _new(settled, messages)
    settled = union(settled, [(seq, seq) for seq in new])
    if len(settled) > MAX_RANGES:
        raise RejectedError(f"the run is in more than {MAX_RANGES} pieces: send or drop what lies between")
    _add_gaps(tx, node, request, dropped)
    rejected: list[Rejected] = []
    for seq, message in new.items():
        if message.body is None:
            rejected.append(Rejected(seq=seq, problem=message.problem[:4096]))
            _dead_letter(tx, node, request, message)
        else:
            t = message.envelope.t
            at = Position(request.run, seq, t, stored_ms(t, request.sent, tx.now_ms))
            text = encode(message.body).decode()
            apply(tx, Arrived(site=site, node=node, at=at, body=message.body, text=text))
    if rejected:
        _bound(tx, "dead_letters", node, MAX_DEAD_LETTERS)
        _reject_alert(tx, node, site, request, rejected)
    tx.execute(
        "UPDATE runs SET settled = ?, rejected = rejected + ?, last_ms = ? WHERE id = ?",
        (dump(settled), len(rejected), tx.now_ms, run),
    )
    ack, have = ack_and_have(settled)
    after = commands.highest_waiting(tx, node)
    return IngestAnswer(ack=ack, have=have, rejected=rejected, server_time=tx.now_ms, commands_after=after)


def _run(tx: Tx, node: str, request: IngestRequest) -> tuple[int, Ranges]:
    key = (node, request.stream.value, request.run)
    rows = tx.execute("SELECT id, settled FROM runs WHERE node = ? AND stream = ? AND run = ?", key)
    if rows:
        return rows[0]["id"], [(first, last) for first, last in load(rows[0]["settled"])]
    rows = tx.execute(
        "INSERT INTO runs (node, stream, run, settled, first_ms, last_ms) VALUES (?, ?, ?, '[]', ?, ?) RETURNING id",
        (*key, tx.now_ms, tx.now_ms),
    )
    tx.execute(
        "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE node = ? AND stream = ?"
        " ORDER BY last_ms DESC, id DESC LIMIT 1000000 OFFSET ?)",
        (node, request.stream.value, MAX_RUNS),
    )
    return rows[0]["id"], []


def _new(settled: Ranges, messages: list[Read]) -> dict[int, Read]:
    """The messages that are not settled yet, in their order; of two with one number the first."""
    found: dict[int, Read] = {}
    for message in messages:
        seq = message.envelope.seq
        if seq not in found and not contains(settled, seq):
            found[seq] = message
    return found


def _add_gaps(tx: Tx, node: str, request: IngestRequest, parts: list[tuple[int, int, str]]) -> None:
    """Few statements and one look at the bound for a whole request: all nodes wait for the one writer."""
    for start in range(0, len(parts), _ROWS):
        some = parts[start : start + _ROWS]
        tx.execute(
            "INSERT INTO gaps (node, stream, run, first, last, kind, at_ms) VALUES "  # noqa: S608 - placeholders alone
            + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * len(some)),
            [value for part in some for value in (node, request.stream.value, request.run, *part, tx.now_ms)],
        )
    if parts:
        _bound(tx, "gaps", node, MAX_GAPS)


def _dead_letter(tx: Tx, node: str, request: IngestRequest, message: Read) -> None:
    body = bytes(message.envelope.m)[:4096].decode(errors="replace")
    tx.execute(
        "INSERT INTO dead_letters (node, stream, run, seq, at_ms, problem, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (node, request.stream.value, request.run, message.envelope.seq, tx.now_ms, message.problem[:4096], body),
    )


def _bound(tx: Tx, table: str, node: str, most: int) -> None:
    """Forgets the oldest rows of one node; `table` is one of this module's own names."""
    tx.execute(
        f"DELETE FROM {table} WHERE node = ? AND id <= (SELECT id FROM {table} WHERE node = ?"  # noqa: S608
        " ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (node, node, most),
    )


def _reject_alert(tx: Tx, node: str, site: str, request: IngestRequest, rejected: list[Rejected]) -> None:
    audit.raise_alert(
        tx,
        site=site,
        node=node,
        code=f"rejected-{request.stream.value}",
        severity="warning",
        text=f"{len(rejected)} message(s) could not be read, the first: {rejected[0].problem[:512]}",
    )


def streams(tx: Tx, node: str) -> list[StreamRecord]:
    """The runs of a node's streams, the last heard first."""
    rows = tx.execute(
        "SELECT runs.*, (SELECT COALESCE(SUM(last - first + 1), 0) FROM gaps WHERE gaps.node = runs.node"
        " AND gaps.stream = runs.stream AND gaps.run = runs.run) AS dropped FROM runs WHERE node = ?"
        " ORDER BY last_ms DESC, id DESC",
        (node,),
    )
    return [_stream(row) for row in rows]


def _stream(row: Row) -> StreamRecord:
    ack, have = ack_and_have([(first, last) for first, last in load(row["settled"])])
    return record(StreamRecord, {**row, "ack": ack, "have": have})


def gaps(tx: Tx, node: str, limit: int = 500) -> list[GapRecord]:
    """What a node's outboxes dropped by policy, the newest first."""
    rows = tx.execute("SELECT * FROM gaps WHERE node = ? ORDER BY id DESC LIMIT ?", (node, limit))
    return [record(GapRecord, row) for row in rows]


def dead_letters(tx: Tx, node: str, limit: int = 100) -> list[DeadLetterRecord]:
    """What of a node could not be read, the newest first."""
    rows = tx.execute("SELECT * FROM dead_letters WHERE node = ? ORDER BY id DESC LIMIT ?", (node, limit))
    return [record(DeadLetterRecord, row) for row in rows]
