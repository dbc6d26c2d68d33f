"""Takes tokens, keys and Secret contents out of whatever is about to be logged or shown. Pure.

A net below the rule that such values are never passed to a log in the first place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

GONE = "[scrubbed]"
MAX_TEXT = 16 * 1024
MAX_DEPTH = 8

_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){0,3}")
_HEADER = re.compile(
    r"(?i)((?:proxy-)?authorization|(?:set-)?cookie|x-csrf-token|private-token)(\\*[\"']?\s*[:=,]\s*\\*b?[\"']?)"
    r"(?:(?:bearer|basic|negotiate|token|digest)\s+)?[^\r\n\"'\\]+"
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_USERINFO = re.compile(r"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]{0,20}://)[^\s/\"'<>]*@")
_PARAMETER = re.compile(
    r"(?i)\b(access_token|refresh_token|client_assertion|client_secret|password|passwd|private_token|code)=[^&\s\"']+"
)
_NAMES = "(?:access_token|refresh_token|client_assertion|client_secret|password|passwd|token)"
_FIELD = re.compile(rf"(?i)(([\"']){_NAMES}\2\s*:\s*)(?:\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?)", re.DOTALL)
_ESCAPED_FIELD = re.compile(rf"(?i)(\\+\"{_NAMES}\\+\"\s*:\s*)\\+\"[^\"]*\"?")
_SECRET_KIND = re.compile(r"(?m)(?:^|[\s\"',{\\])kind\\*[\"']?\s*[:=]\s*\\*[\"']?Secret\b")
_SECRET_DATA = re.compile(r"(?s)(\b(?:data|stringData)\\*[\"']?\s*[:=]).*\Z")
_KEY = re.compile(r"(?i)(?:^|[_-])(?:token|password|passwd|secret|authorization|assertion|cookie|private[_-]?key)$")


def scrub_text(text: str) -> str:
    """The text without JWTs, Authorization and cookie headers, PEM private keys, userinfo of URLs and, where it
    holds a Secret manifest, without everything from the Secret's data on. Cut to 16 KiB."""
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "... [cut]"
    if _SECRET_KIND.search(text):
        text = _SECRET_DATA.sub(rf"\1 {GONE}", text)
    text = _PEM.sub(GONE, text)
    text = _HEADER.sub(rf"\1\2{GONE}", text)
    text = _JWT.sub(GONE, text)
    text = _SCHEME.sub(rf"\1 {GONE}", text)
    text = _USERINFO.sub(rf"\1{GONE}@", text)
    text = _FIELD.sub(rf'\1"{GONE}"', text)
    text = _ESCAPED_FIELD.sub(rf"\1{GONE}", text)
    return _PARAMETER.sub(rf"\1={GONE}", text)


def scrub(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911 - one line a type
    """The value as plain JSON types, scrubbed at every level; deeper than 8 levels it becomes `...`."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return scrub_text(value)
    if depth >= MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        secret = value.get("kind") == "Secret"
        return {
            scrub_text(str(key)): GONE
            if _hidden(str(key), inner) or (secret and key in ("data", "stringData"))
            else scrub(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [scrub(inner, depth + 1) for inner in value]
    if isinstance(value, bytes | bytearray):
        return scrub_text(bytes(value[: MAX_TEXT + 1]).decode(errors="replace"))
    return scrub_text(str(value) if isinstance(value, BaseException) else repr(value))


def _hidden(key: str, value: Any) -> bool:
    return value is not None and not isinstance(value, bool | int | float) and _KEY.search(key) is not None
