# ruff: noqa: E501 - tables read best as they are
"""What scalars mean to Kubernetes. The peer in tests/integration/vessel proves the same against kubectl."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vessel.reading.documents import read_documents
from vessel.reading.scalars import ScalarError, key_text, resolve, resolve_tagged, to_json
from vessel.reading.writing import to_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:22", "22:22"), ("on", True), ("y", True), ("N", False), ("tRue", "tRue"), ("", None), ("~", None),
        ("1e3", 1000), ("1_000", 1000), ("0777", 511), ("0o777", 511), ("08", 8), ("0x1F", 31), ("-0b101", -5), ("0b-1", -1),
        ("+1", 1), (".5", 0.5), ("5.", 5), (".", "."), ("1e400", "1e400"), ("2001-01-01", "2001-01-01"), ("-0", 0), ("-0.0", 0),
        ("9223372036854775807", 2**63 - 1), ("9223372036854775808", 2.0**63), ("1234567890123456768.0", 1234567890123456800),
        ("1e21", 1e21), ("1e20", 1e20), ("_1", "_1"), ("1.2.3", "1.2.3"), ("٣", "٣"), ("NaN", "NaN"), ("=", "="), ("<<", "<<"),
    ],
)  # fmt: skip
def test_plain(text: str, value: Any) -> None:
    found = to_json(resolve(text))
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("text", [".nan", ".inf", "-.INF", "+.inf"])
def test_what_json_cannot_express(text: str) -> None:
    with pytest.raises(ScalarError, match="cannot be expressed as JSON"):
        to_json(resolve(text))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"), (True, "true"), (False, "false"), (1.5, "1.5"), (1e10, "1e+10"), (1e-7, "1e-07"), (0.0001, "0.0001"),
        (100000.0, "100000"), (1000000.0, "1e+06"), (16777217.0, "1.6777216e+07"), (0.1, "0.1"), (-0.0, "-0"), (1e300, ".inf"),
        (-1e300, "-.inf"), (math.nan, ".nan"), (3.14159265358979, "3.1415927"), ("x", "x"), (1e-60, "0"),
    ],
)  # fmt: skip
def test_keys(value: Any, text: str) -> None:
    assert key_text(value) == text


@pytest.mark.parametrize("value", [None, 2**63])
def test_keys_that_cannot_be(value: Any) -> None:
    with pytest.raises(ScalarError):
        key_text(value)


@pytest.mark.parametrize(
    ("tag", "text", "value"),
    [("str", "1", "1"), ("int", "0x10", 16), ("float", "1", 1.0), ("bool", "yes", True), ("null", "", None),
     ("binary", "aGk=", "hi"), ("timestamp", "2001-01-01", "2001-01-01")],
)  # fmt: skip
def test_tagged(tag: str, text: str, value: Any) -> None:
    assert resolve_tagged(f"tag:yaml.org,2002:{tag}", text) == value


@pytest.mark.parametrize(
    ("tag", "text"),
    [("!mine", "x"), ("str", "x"), ("tag:yaml.org,2002:int", "x"), ("tag:yaml.org,2002:bool", "1"), ("tag:yaml.org,2002:set", ""),
     ("tag:yaml.org,2002:binary", "/w=="), ("tag:yaml.org,2002:binary", "!"), ("tag:yaml.org,2002:null", "x"),
     ("tag:yaml.org,2002:timestamp", "now"), ("tag:yaml.org,2002:float", "18446744073709551615")],
)  # fmt: skip
def test_tags_that_do_not_fit(tag: str, text: str) -> None:
    with pytest.raises(ScalarError):
        resolve_tagged(tag, text)


_CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cs"])
_TEXT = st.one_of(
    st.text(_CHARACTERS, max_size=12), st.text("0123456789+-._eExob:yYnNonfftrue ~#'\"|>\n\t", max_size=8), st.sampled_from(["y", "1_0", "0o7", "<<"])
)  # fmt: skip
_JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        _TEXT,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_TEXT, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(_TEXT, _JSON, min_size=1, max_size=4))
def test_what_is_written_is_read_back(value: dict[str, Any]) -> None:
    [document] = read_documents(b"---\n" + to_yaml(value).encode())
    assert json.dumps(document.value) == json.dumps(_go(value))


def _go(value: Any) -> Any:
    """Numbers as they come out of Go's JSON: a float without fraction is an integer."""
    if isinstance(value, dict):
        return {key: _go(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_go(part) for part in value]
    return to_json(value)
