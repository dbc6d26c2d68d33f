"""What a root half answers, and how long a request and an answer may be. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

MAX_ASK = 256 * 1024
MAX_ANSWER = 1024 * 1024


class Family(StrEnum):
    """How an operation ended."""

    DONE = "done"
    RETRY = "retry"
    REFUSED = "refused"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `value`: the operation's answer; `text`: why not."""

    v: int = 1
    family: Family
    text: str = ""
    value: Any = None


def refused(text: str) -> Answer:
    """An answer that says why not."""
    return Answer(family=Family.REFUSED, text=text)
