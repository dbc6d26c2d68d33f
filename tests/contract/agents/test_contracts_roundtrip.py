"""Whatever a contract type can hold goes through JSON and comes back; what it cannot hold is refused with its path."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.election import ElectionAnswer, ElectionRequest
from agents.contracts.ids import Stream
from agents.contracts.ingest import MAX_BODY_BYTES, Envelope, IngestAnswer, IngestRequest, read_body
from agents.contracts.messages import Beat, Body, Via
from agents.core.fit import fit


def strategy(info: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a msgspec type, from its own description, limits included."""
    match info:
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            return st.integers(info.ge if info.ge is not None else -(2**53), info.le if info.le is not None else 2**53)
        case inspect.FloatType():
            return st.floats(min_value=info.ge, max_value=info.le, allow_nan=False, allow_infinity=False)
        case inspect.StrType(pattern=str() as pattern):
            return st.from_regex(pattern.replace("$", r"\Z"), fullmatch=True)
        case inspect.StrType():
            return st.text(max_size=min(info.max_length or 40, 40))
        case inspect.NoneType():
            return st.none()
        case inspect.EnumType():
            return st.sampled_from([member.value for member in info.cls])
        case inspect.ListType():
            return st.lists(strategy(info.item_type, depth + 1), max_size=min(info.max_length or 3, 3))
        case inspect.TupleType():
            return st.tuples(*(strategy(one, depth + 1) for one in info.item_types)).map(list)
        case inspect.DictType():
            return st.dictionaries(strategy(info.key_type), strategy(info.value_type, depth + 1), max_size=3)
        case inspect.UnionType():
            return st.one_of(*(strategy(one, depth) for one in info.types))
        case inspect.RawType():
            return st.just({"kind": "beat"})
        case inspect.StructType():
            fields = {field.encode_name: strategy(field.type, depth + 1) for field in info.fields}
            tag = {info.tag_field: st.just(info.tag)} if info.tag_field else {}
            return st.fixed_dictionaries({**fields, **tag})
    raise NotImplementedError(str(info))


BODIES = strategy(inspect.type_info(Body))
slow = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)


@slow
@given(BODIES)
def test_every_body_comes_back_equal(document: dict[str, Any]) -> None:
    body = msgspec.convert(document, Body)
    assert decode(encode(body), Body) == body  # type: ignore[arg-type]


@slow
@given(BODIES)
def test_fitting_leaves_what_fits_and_bounds_what_does_not(document: dict[str, Any]) -> None:
    body = msgspec.convert(document, Body)
    if len(encode(body)) <= MAX_BODY_BYTES:
        assert fit(body, MAX_BODY_BYTES) == body
    assert len(encode(fit(body, 4096))) <= max(4096, len(encode(body)))


@slow
@given(strategy(inspect.type_info(IngestRequest)))
def test_every_request_comes_back_equal(document: dict[str, Any]) -> None:
    request = decode(msgspec.json.encode(document), IngestRequest)
    again = decode(encode(request), IngestRequest)
    assert encode(again) == encode(request)


@slow
@given(strategy(inspect.type_info(IngestAnswer)))
def test_every_answer_comes_back_equal(document: dict[str, Any]) -> None:
    answer = msgspec.convert(document, IngestAnswer)
    assert decode(encode(answer), IngestAnswer) == answer


@slow
@given(strategy(inspect.type_info(ElectionRequest)))
def test_every_question_among_siblings_comes_back_equal(document: dict[str, Any]) -> None:
    request = decode(msgspec.json.encode(document), ElectionRequest)  # type: ignore[arg-type]
    assert decode(encode(request), ElectionRequest) == request  # type: ignore[arg-type]


@slow
@given(strategy(inspect.type_info(ElectionAnswer)))
def test_every_answer_among_siblings_comes_back_equal(document: dict[str, Any]) -> None:
    answer = msgspec.convert(document, ElectionAnswer)
    assert decode(encode(answer), ElectionAnswer) == answer


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_nothing_else(data: bytes) -> None:
    try:
        decode(data, IngestRequest)
    except ContractError as error:
        assert str(error)


def test_a_deeply_nested_document_is_refused() -> None:
    with pytest.raises(ContractError):
        decode(b'{"v":' + b"[" * 100_000, IngestRequest)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (
            '{"stream":"heartbeat","run":"00112233445566ff","messages":[{"seq":0,"t":1,"m":{}}]}',
            r"\$.messages\[0\].seq",
        ),
        ('{"stream":"cooking","run":"00112233445566ff"}', r"\$.stream"),
        ('{"stream":"heartbeat","run":"x"}', r"\$.run"),
        ('{"v":2,"stream":"heartbeat","run":"00112233445566ff"}', r"\$.v"),
        ('{"stream":"heartbeat","run":"00112233445566ff","dropped":[[1]]}', r"\$.dropped\[0\]"),
        ('{"stream":"heartbeat"}', "run"),
    ],
)
def test_what_is_out_of_contract_is_refused_with_its_path(document: str, path: str) -> None:
    with pytest.raises(ContractError, match=path):
        decode(document, IngestRequest)


def test_an_error_never_quotes_the_value() -> None:
    with pytest.raises(ContractError) as caught:
        decode('{"stream":"heartbeat","run":"hunter2-hunter2"}', IngestRequest)
    assert "hunter2" not in str(caught.value)


def test_a_body_of_another_stream_a_malformed_and_an_oversized_one_are_refused_alone() -> None:
    beat = encode(Beat(boot="00000000", up=1, ok=1))
    for stream, raw, cause in [
        (Stream.VESSEL, beat, "does not belong"),
        (Stream.HEARTBEAT, b'{"kind":"beat"}', "boot"),
        (Stream.HEARTBEAT, b'{"kind":"dance"}', "kind"),
        (Stream.HEARTBEAT, b'"' + b"x" * (MAX_BODY_BYTES + 1) + b'"', "more than"),
    ]:
        with pytest.raises(ContractError, match=cause):
            read_body(stream, Envelope(seq=1, t=1, m=msgspec.Raw(raw)))


def test_a_beat_with_its_envelope_is_at_most_160_bytes() -> None:
    """At its largest: ten years of uptime, every health bit, 15 siblings, a month of beats in one run."""
    beat = Beat(boot="ffffffff", up=10 * 366 * 86400, ok=2**32 - 1, wit=2**15 - 1, via=Via.UNIT)
    envelope = Envelope(seq=999_999, t=4_102_444_800_000, m=msgspec.Raw(encode(beat)))
    assert len(encode(envelope)) <= 160
