"""`POST /v1/ingest`: how stored messages reach the cloud, and what it says of them. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

from agents.contracts.codec import ContractError, Struct, decode
from agents.contracts.ids import Run, Seq, Stream
from agents.contracts.messages import KINDS, Body, Short, Text, kind_of

MAX_MESSAGES = 1000
MAX_BODY_BYTES = 64 * 1024
MAX_REQUEST_BYTES = 4 * 1024 * 1024

Millis = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class Envelope(Struct, frozen=True, kw_only=True):
    """One stored message. `t`: the node's wall clock when stored, Unix ms. `m`: the body, read on its own so
    that a bad one is rejected alone."""

    seq: Seq
    t: Millis
    m: msgspec.Raw


class IngestRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A batch of one stream's run. `dropped`: `[a, b, kind]`, ranges that the outbox evicted by policy.

    `sent`: the node's wall clock now, as `t` of the messages is: how old each one is, however wrong that clock. Older
    agents do not say it. The node is the token's subject, never a field.
    """

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    stream: Stream
    run: Run
    sent: Millis | None = None
    dropped: Annotated[list[tuple[Seq, Seq, Short]], msgspec.Meta(max_length=1000)] = []
    messages: Annotated[list[Envelope], msgspec.Meta(max_length=MAX_MESSAGES)] = []


class Rejected(Struct, frozen=True, kw_only=True):
    """A message settled into the dead-letter table, and why."""

    seq: Seq
    problem: Text


class IngestAnswer(Struct, frozen=True, kw_only=True):
    """`ack`: all up to here is settled (0: none). `have`: settled ranges above it, ascending, inclusive.

    `server_time`: Unix ms. `commands_after`: the highest command sequence waiting for the node.
    """

    v: int = 1
    ack: Annotated[int, msgspec.Meta(ge=0)]
    have: list[tuple[Seq, Seq]]
    rejected: list[Rejected]
    server_time: Millis
    commands_after: Annotated[int, msgspec.Meta(ge=0)] = 0


def read_body(stream: Stream, envelope: Envelope) -> Body:
    """Decodes one body; raises ContractError when malformed, too large, or not a kind of this stream."""
    if len(envelope.m) > MAX_BODY_BYTES:
        raise ContractError(f"message is {len(envelope.m)} bytes, more than {MAX_BODY_BYTES}")
    body: Body = decode(bytes(envelope.m), Body)  # type: ignore[arg-type]
    if kind_of(body) not in KINDS[stream]:
        raise ContractError(f"kind {kind_of(body)!r} does not belong on stream {stream.value!r}")
    return body
