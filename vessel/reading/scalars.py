"""What a YAML scalar means to Kubernetes: the rules of go-yaml v2 under sigs.k8s.io/yaml, then of JSON. Pure.

They are neither YAML 1.1 nor 1.2: `on` and `y` are true, `22:22` and dates are strings, `0777`, `0o777` and
`1_000` are integers, `08` is 8. Rules: go.yaml.in/yaml/v2 `resolve.go`, sigs.k8s.io/yaml `yaml.go`.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from decimal import Decimal

Scalar = str | int | float | bool | None

TAG_PREFIX = "tag:yaml.org,2002:"
UNKNOWN_TAG = "has a tag (a value that begins with '!') that is not supported"
"""Without the tag: it may be a text that lacks its quotes, such as a password."""
INT64_MIN, INT64_END, UINT64_END = -(2**63), 2**63, 2**64

_TABLE: dict[str, Scalar] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]([0-7]+)|0([0-7]*)|([1-9][0-9]*))", re.ASCII)
_BASES = (16, 2, 8, 8, 10)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_DOT_FLOAT = re.compile(r"\.[0-9]+(?:[eE][-+]?[0-9]+)?", re.ASCII)
_SIGN_AFTER_0B = re.compile(r"0b([-+][01]+)", re.ASCII)
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
    r"(?:[Tt][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:\.[0-9]+)?(?:Z|[-+][0-9]{2}:[0-9]{2})"
    r"| [0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:\.[0-9]+)?)?",
    re.ASCII,
)


class ScalarError(ValueError):
    """A scalar that has no meaning as JSON. The text is for people and does not repeat the scalar."""


def resolve(text: str) -> Scalar:
    """A plain scalar's value before it becomes JSON: an int may lie beyond int64, a float may be NaN."""
    if text in _TABLE:
        return _TABLE[text]
    first = text[0]
    if first == ".":
        value = float(text) if _DOT_FLOAT.fullmatch(text) else math.inf
        return text if math.isinf(value) else value
    if first in "+-0123456789":
        return _number(text)
    return text


def _number(text: str) -> Scalar:
    plain = text.replace("_", "")
    if match := _INTEGER.fullmatch(plain):
        sign, *digits = match.groups()
        base, written = next((b, d) for b, d in zip(_BASES, digits, strict=True) if d is not None)
        value = int(written or "0", base) * (-1 if sign == "-" else 1)
        if INT64_MIN <= value < INT64_END or (not sign and value < UINT64_END):
            return value
    if _FLOAT.fullmatch(plain) and math.isfinite(number := float(plain)):
        return number
    if match := _SIGN_AFTER_0B.fullmatch(plain):  # a quirk: the rest after `0b` is read by a parser that takes a sign
        value = int(match[1], 2)
        if INT64_MIN <= value < INT64_END:
            return value
    return text


def resolve_tagged(tag: str, text: str) -> Scalar:
    """The value of a scalar with an explicit tag (long form, or `!`). Raises ScalarError."""
    name = tag.removeprefix(TAG_PREFIX)
    if tag == "!" or (name == "str" and name != tag):
        return text
    if name == tag or name not in ("binary", "bool", "float", "int", "null", "timestamp"):
        raise ScalarError(UNKNOWN_TAG)
    if name == "binary":
        return _binary(text)
    if name == "timestamp":
        if not _TIMESTAMP.fullmatch(text):
            raise ScalarError("is not a timestamp, as its tag says")
        return text
    value = resolve(text)
    if name == "float" and type(value) is int and INT64_MIN <= value < INT64_END:
        return float(value)
    wanted = {"bool": bool, "float": float, "int": int, "null": type(None)}[name]
    if type(value) is not wanted:
        raise ScalarError(f"is not of the type that its tag !!{name} says")
    return value


def _binary(text: str) -> str:
    try:
        return base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True).decode()
    except binascii.Error:
        raise ScalarError("!!binary holds invalid base64") from None
    except UnicodeDecodeError:
        raise ScalarError(
            "!!binary holds bytes that are no text, which JSON cannot carry: give the base64 as a string"
        ) from None


def to_json(value: Scalar) -> Scalar:
    """The value after its way through JSON text: `1e3` is the integer 1000. Raises ScalarError for NaN and infinity."""
    if type(value) is int:
        return value if INT64_MIN <= value < INT64_END else float(value)
    if type(value) is float:
        if not math.isfinite(value):
            raise ScalarError("NaN and infinity cannot be expressed as JSON")
        if value.is_integer() and abs(value) < 1e21:
            # Go writes the shortest digits padded with zeros, not the float's exact value.
            return to_json(int(Decimal(repr(value))))
    return value


def key_text(value: Scalar) -> str:
    """The text a mapping's key becomes in JSON. Raises ScalarError for keys that cannot be one."""
    if isinstance(value, str):
        return value
    if value is None:
        raise ScalarError("a key must not be null (quote it if a text is meant)")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if value >= INT64_END:
            raise ScalarError("an integer key must fit in 64 bits (quote it if a text is meant)")
        return str(value)
    return _float_key(value)


def _float_key(value: float) -> str:
    """`strconv.FormatFloat(value, 'g', -1, 32)`: the shortest digits that give the same 32-bit float."""
    try:
        single: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        single = math.copysign(math.inf, value)
    if not math.isfinite(single):
        return ".nan" if math.isnan(single) else (".inf" if single > 0 else "-.inf")
    if single == 0:
        return "-0" if math.copysign(1, single) < 0 else "0"
    for digits in range(9):
        written = f"{single:.{digits}e}"
        if struct.pack("f", float(written)) == struct.pack("f", single):
            break
    mantissa, _, exponent = written.partition("e")
    power = int(exponent)
    if -4 <= power < 6:
        return _positional(mantissa, power)
    return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _positional(mantissa: str, power: int) -> str:
    text = format(Decimal(f"{mantissa}e{power}"), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
