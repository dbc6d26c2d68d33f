"""What a type of the settings tells people in place of its pattern, or of its closed list of words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import EnumMeta
from typing import Any, Literal, get_args, get_origin

import msgspec


def patterns_of(hint: Any) -> Iterator[tuple[str, str]]:
    """The patterns of a type and what to tell people in their place: `Meta(description="must be ...")` beside the
    pattern, else the words of a pattern that lists them; a pattern for which there is neither shows itself."""
    for note in getattr(hint, "__metadata__", ()):
        if not isinstance(note, msgspec.Meta) or note.pattern is None:
            continue
        if text := note.description or choices(note.pattern):
            yield note.pattern, text
    for part in get_args(hint):
        yield from patterns_of(part)


def words_of(hint: Any) -> Iterator[list[str]]:
    """Each closed list of values in a type."""
    if get_origin(hint) is Literal:
        yield [str(word) for word in get_args(hint)]
    elif isinstance(hint, EnumMeta):
        yield [str(one.value) for one in hint]  # type: ignore[var-annotated]
    else:
        for part in get_args(hint):
            yield from words_of(part)


def choices(pattern: str) -> str:
    r"""`must be unit or pod` for `^(unit|pod)\Z`, `file:<path>` for `file:.+`; empty for other patterns."""
    found = re.fullmatch(r"\^\((?:(?:[a-z-]+|file:\.\+)\|)+(?:[a-z-]+|file:\.\+)\)\\Z", pattern)
    if found is None:
        return ""
    *words, last = pattern[2:-3].replace("file:.+", "file:<path>").split("|")
    return f"must be {', '.join(words)} or {last}"
