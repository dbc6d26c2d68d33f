"""The secrets that this node is known to hold, found wherever they stand in a text, in whatever usual form. Pure.

Values are held in memory only, for as long as one bundle is made; `repr` shows how many there are.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator

WINDOW = 8
"""Bytes by which a value is looked up; what is shorter is no secret that could be told from a word."""
SHORTEST = 12
"""Of a value as it was given. Shorter ones would take common words out of every log."""
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


class Known:
    """A set of values. `take_out(line)` is the line without them: raw, in base64 and base64url at any alignment, in
    hex, percent-encoded and as JSON has them; a value of several lines line by line."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self._forms: dict[bytes, list[bytes]] = {}
        self.count = 0
        for value in {part for one in values for part in parts(one)}:
            self.count += 1
            for form in set(forms(value)):
                if len(form) >= WINDOW:
                    self._forms.setdefault(form[:WINDOW], []).append(form)
        for same in self._forms.values():
            same.sort(key=len, reverse=True)

    def __repr__(self) -> str:
        return f"Known({self.count} values)"

    def take_out(self, line: bytes, put: bytes) -> bytes:
        """The line with `put` in place of each value."""
        table = self._forms
        if not table:
            return line
        found: list[tuple[int, int]] = []
        at, end = 0, len(line) - WINDOW
        while at <= end:
            same = table.get(line[at : at + WINDOW])
            hit = next((form for form in same if line.startswith(form, at)), None) if same is not None else None
            if hit is None:
                at += 1
            else:
                found.append((at, at + len(hit)))
                at += len(hit)
        if not found:
            return line
        pieces, last = [], 0
        for first, past in found:
            pieces += [line[last:first], put]
            last = past
        return b"".join([*pieces, line[last:]])


def parts(value: bytes) -> Iterator[bytes]:
    """What of a value is looked for: each of its lines, and the whole where it is one. Of PEM the body's lines alone,
    and its bytes: the frame is no secret."""
    for match in _PEM.finditer(value):
        if b"PRIVATE" in match[1]:
            body = b"".join(match[2].split())
            yield body
            with contextlib.suppress(ValueError):
                yield base64.b64decode(body, validate=True)
    for line in _PEM.sub(_body, value).splitlines():
        if len(stripped := line.strip()) >= SHORTEST:
            yield stripped


def _body(match: re.Match[bytes]) -> bytes:
    return match[2] if b"PRIVATE" in match[1] else b""


def forms(value: bytes) -> Iterator[bytes]:
    """A value as texts have it."""
    yield value
    yield value.hex().encode()
    yield value.hex().upper().encode()
    for shift in range(3):  # in base64 of a longer text it may begin at any of three places
        text = base64.b64encode(b"\0" * shift + value)
        # Letters that also hold bits of the neighbours are left out.
        inner = text[-(-8 * shift // 6) : 8 * (shift + len(value)) // 6]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))
    try:
        text_ = value.decode()
    except UnicodeDecodeError:
        return
    yield json.dumps(text_)[1:-1].encode()
    yield json.dumps(text_, ensure_ascii=False)[1:-1].encode()
    yield urllib.parse.quote(text_, safe="").encode()
    yield urllib.parse.quote_plus(text_).encode()
