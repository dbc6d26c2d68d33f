"""The patterns of what spans lines: keys in PEM, base64, a value below its name, a line in parts. Pure."""

from __future__ import annotations

import re

from edge_commander.diagnostics.names import FILES, JOURNALED, NAME, PRIVATE, PRIVATE_END

JOURNAL = re.compile(rb"^" + JOURNALED)
PEM_BEGIN = re.compile(PRIVATE)
PEM_END = re.compile(PRIVATE_END)
PEM_LINES = 400
"""A key of more lines there is none: so many are dropped where the end of one never comes."""
CRI_PART = re.compile(rb"^\S+ (?:stdout|stderr) P ")
"""A container's line that goes on in the next one (kubelet's log format): a secret could lie across both."""
BLOB_LINE = re.compile(rb"^[\s\"'|>]*([A-Za-z0-9+/_=-]+)[\s\"',\\]*$")
"""A line of nothing but base64: after a long one it is the rest of it."""

_TAIL = rb"\s{0,64}(?:[!&]\S{0,128}\s{1,64}){0,3}(?:[!&]\S{0,128})?(?:[|>][-+0-9]{0,3}|\{|\[)?\s{0,64}(?:#.*)?$"
"""What may stand behind the colon of a YAML key whose value is on the lines below: tag, anchor, style, comment."""
HEAD = re.compile(rb"^[\s-]*+[\"']?[A-Za-z0-9_.-]{1,128}[\"']?\s{0,8}:")
"""A key with its colon: a quick look before the two below."""
DATA = re.compile(rb"(?i)^(?P<indent>[\s-]*+)[\"']?(?:data|stringData|binaryData)[\"']?\s{0,8}:" + _TAIL)
"""A Secret's data on the lines below, deeper."""
FIELD = re.compile(
    rb"(?i)^(?P<indent>[\s-]*+)[\"']?[A-Za-z0-9_.-]{0,64}?" + NAME + FILES + rb"[\"']?\s{0,8}:\s*(?P<value>[^\s#]?)"
)
"""A telling key: deeper lines below it are of its value, whether that began on this one or not."""
PAIR = re.compile(
    rb"(?i)^[\s{-]*+[\"']?(?:name|key)[\"']?\s{0,8}[:=]\s{0,8}[\"']?[A-Za-z0-9_.-]{0,64}?"
    + NAME
    + FILES
    + rb"[\"']?,?\s*$"
)
PAIRED = re.compile(rb"(?i)^(?P<indent>[\s-]*+)[\"']?value[\"']?\s{0,8}[:=]")
"""`name: DB_PASSWORD`, and `value: ...` on the next line."""
KEY_ALONE = re.compile(rb"(?i)^\s*\?\s*[\"']?[A-Za-z0-9_.-]{0,64}?" + NAME + FILES + rb"[\"']?\s*$")
"""YAML's `? key`, whose value stands behind a colon on the next line."""
ENDS_TELLING = re.compile(
    rb"(?i)(?:"
    + NAME
    + FILES
    + rb"(?:\s(?:is|was|for \S{1,64}))?\s{0,4}[:=]|--[A-Za-z0-9_.-]{0,64}?"
    + NAME
    + FILES
    + rb")\s*$"
)
"""`Using certificate key:`, `--token`: what follows on the next line, alone, is it."""
ALONE = re.compile(rb"^\s*[\"'`]?[^\s\"'`:]{4,}[\"'`]?[\s\\,]*$|^\s*[\"'][^\"']+[\"'][\s\\,]*$")
