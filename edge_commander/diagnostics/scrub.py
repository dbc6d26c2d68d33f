"""A stream of text without its secrets, line by line, whatever the pieces in which it comes. Pure.

Memory is bounded by one line; what spans lines (a private key, a block under a telling name, base64 over several
lines, a container's line in parts) is followed by a small state.
"""

from __future__ import annotations

from edge_commander.diagnostics import rules
from edge_commander.diagnostics.known import Known
from edge_commander.diagnostics.rules import GONE

MAX_LINE = 24 * 1024
"""Bytes. A longer line is dropped whole: cut in two, half a secret would stand at the cut."""
TOO_LONG = b"[scrubbed: a line of more than 24 KiB]"


class Scrubber:
    """`feed` pieces, then `finish`; each returns what is ready. `whole_end` False: the text was cut at its end, and its
    last line is dropped. `whole_start` False: the same for the first one."""

    def __init__(self, known: Known, *, whole_start: bool = True) -> None:
        self._known = known
        self._rest = bytearray()
        self._dropping = not whole_start  # until the next end of line
        self._said = True
        self._pem = 0
        self._block: int | None = None
        self._blob = False
        self._part = False
        self.scrubbed = 0

    def feed(self, piece: bytes) -> bytes:
        """What became whole lines with this piece."""
        self._rest += piece
        done: list[bytes] = []
        start = 0
        while (end := self._rest.find(b"\n", start)) >= 0:
            if self._dropping:
                self._dropping = False
                if not self._said:
                    done.append(TOO_LONG)
                self._said = True
            elif end - start > MAX_LINE:
                done.append(self._long())
            else:
                done.append(self._line(bytes(self._rest[start:end])))
            start = end + 1
        del self._rest[:start]
        if self._dropping:
            self._rest.clear()
        elif len(self._rest) > MAX_LINE:
            self._long()
            self._rest.clear()
            self._dropping, self._said = True, False
        return b"".join(line + b"\n" for line in done)

    def finish(self, *, whole_end: bool = True) -> bytes:
        """The rest."""
        rest, self._rest = bytes(self._rest), bytearray()
        if self._dropping:
            return b"" if self._said else TOO_LONG + b"\n"
        if not rest or not whole_end:
            return b""
        return self._line(rest) + b"\n"

    def _long(self) -> bytes:
        self.scrubbed += 1
        return TOO_LONG

    def _line(self, line: bytes) -> bytes:
        put = self._judged(line)
        if put != line:
            self.scrubbed += 1
        return put

    def _judged(self, line: bytes) -> bytes:
        if self._in_part(line) or self._in_pem(line):
            return GONE
        prefix = rules.JOURNAL.match(line)
        text = line[prefix.end() :] if prefix is not None else line
        if self._in_block(text) or self._in_blob(text):
            return GONE
        return rules.scrub_line(self._known.take_out(line, GONE))

    def _in_part(self, line: bytes) -> bool:
        """A line that a container wrote in parts goes whole: the state of no other rule sees it."""
        before, self._part = self._part, b" P " in line and rules.CRI_PART.match(line) is not None
        return before or self._part

    def _in_pem(self, line: bytes) -> bool:
        if self._pem:
            self._pem = 0 if rules.PEM_END.search(line) else self._pem - 1
            if not self._pem:
                self._open_pem(line)
            return True
        self._open_pem(line)
        return False

    def _open_pem(self, line: bytes) -> None:
        if b"-----BEGIN" not in line:
            return
        begins = [match.end() for match in rules.PEM_BEGIN.finditer(line)]
        if begins and rules.PEM_END.search(line, begins[-1]) is None:
            self._pem = rules.PEM_LINES

    def _in_block(self, text: bytes) -> bool:
        """Whether the line is deeper than the one that opened the block."""
        if self._block is not None:
            if not text.strip():
                return False
            if len(text) - len(text.lstrip(b" \t-")) > self._block:
                return True
            self._block = None
        if text.rstrip()[-1:] not in rules.BLOCK_ENDS:
            return False
        opened = rules.BLOCK.match(text)
        if opened is not None:
            self._block = len(opened["indent"])
        return False

    def _in_blob(self, text: bytes) -> bool:
        match = rules.BLOB_LINE.match(text)
        if match is None:
            self._blob = False
            return False
        long = rules.is_blob(match[1])
        rest, self._blob = self._blob, long
        return long or rest
