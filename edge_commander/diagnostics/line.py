"""One line without what is a secret by its form: the rules by name, by words and by looks, one after another. Pure."""

from __future__ import annotations

import re

from edge_commander.diagnostics.blocks import PEM_END
from edge_commander.diagnostics.names import CORE, GONE, TELLING
from edge_commander.diagnostics.rules import NAMED
from edge_commander.diagnostics.words import SPOKEN, TYPED

_ALL = (*TYPED, *NAMED, *SPOKEN)
_NAME = re.compile(CORE)
_BY_NAME = sum(1 << at for at, (words, _, _) in enumerate(_ALL) if words is TELLING)
"""Rules that need a telling name, a bit each."""


def _by_word() -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for at, (words, _, _) in enumerate(_ALL):
        for word in words:
            found[word] = found.get(word, 0) | 1 << at
    return found


_WORDS = list(_by_word().items())
"""Which rules a word of a line calls."""


def _any_of(words: list[bytes]) -> re.Pattern[bytes]:
    """One pattern for all, by their first letters: most lines hold none, and must not cost a look for each."""
    tails: dict[bytes, list[bytes]] = {}
    for word in words:
        tails.setdefault(word[:1], []).append(re.escape(word[1:]))
    return re.compile(b"|".join(re.escape(first) + b"(?:" + b"|".join(some) + b")" for first, some in tails.items()))


_ANY = _any_of([word for word, _ in _WORDS])
_JOIN_TOKEN = re.compile(rb"\.(?<=[a-z0-9]{6}\.)[a-z0-9]{16}(?![a-z0-9])")
"""kubeadm's; the part before the dot is public."""
LEAST_BLOB = 40
_BLOB = re.compile(rb"[A-Za-z0-9+/_=-]{40,}")
_LOWER, _UPPER, _DIGIT = re.compile(rb"[a-z]"), re.compile(rb"[A-Z]"), re.compile(rb"[0-9]")
_HEX_KEY = re.compile(rb"(?<![A-Za-z0-9:])[0-9a-f]{64}(?![0-9a-f])")


def scrub_line(line: bytes) -> bytes:
    """The line, without its end and what a journal puts before it, less what is a secret by its form. Never longer than
    a few times what it was."""
    lower = line.lower()
    if _ANY.search(lower) is not None:
        called = 0
        for word, rules in _WORDS:
            if word in lower:
                called |= rules
        if called & _BY_NAME and _NAME.search(lower) is None:
            called &= ~_BY_NAME
        for at, (_, pattern, put) in enumerate(_ALL):
            if called >> at & 1:
                line = pattern.sub(put, line)
        if b"certificate" in lower:
            line = _HEX_KEY.sub(GONE, line)  # kubeadm's certificate key, however it is told
    if b"." in line:
        line = _JOIN_TOKEN.sub(b"." + GONE, line)
    if len(line) < LEAST_BLOB:
        return line
    return _BLOB.sub(_unless_plain, line)


def before_end(line: bytes) -> bytes:
    """The line without what stands before the end of a private key that began in a place nobody saw."""
    found = PEM_END.search(line)
    if found is None:
        return line
    head = line[: found.start()].rstrip(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\ ")
    return head + GONE + line[found.end() :]


def is_blob(text: bytes) -> bool:
    """Long base64: a key, a certificate, a token. Digests in hex, paths and names in one case are none."""
    return len(text) >= LEAST_BLOB and all(one.search(text) for one in (_LOWER, _UPPER, _DIGIT))


def _unless_plain(match: re.Match[bytes]) -> bytes:
    return GONE if is_blob(match[0]) else match[0]
