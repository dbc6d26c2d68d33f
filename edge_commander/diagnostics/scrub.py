"""A stream of text without its secrets, line by line, whatever the pieces in which it comes. Pure.

Memory is bounded by one line; what spans lines (a private key, a block under a telling name, base64 over several
lines, a container's line in parts) is followed by a small state.
"""

from __future__ import annotations

from edge_commander.diagnostics import blocks
from edge_commander.diagnostics.known import Known
from edge_commander.diagnostics.line import before_end, is_blob, scrub_line
from edge_commander.diagnostics.names import GONE

MAX_LINE = 24 * 1024
"""Bytes. A longer line is dropped whole: cut in two, half a secret would stand at the cut."""
END = 200
"""Bytes of a line in which a name at its end must stand."""
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
        self._next = ""  # what the next line is, by this one: a value alone, one of a pair, one behind a colon
        self._held: bytes | None = None  # a word alone, until it is known whether a key ends after it
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
                    done += self._released(TOO_LONG)
                self._said = True
            elif end - start > MAX_LINE:
                done += self._released(TOO_LONG, counts=True)
            else:
                done += self._line(bytes(self._rest[start:end]))
            start = end + 1
        del self._rest[:start]
        if self._dropping:
            self._rest.clear()
        elif len(self._rest) > MAX_LINE:
            self.scrubbed += 1
            self._rest.clear()
            self._dropping, self._said = True, False
        return b"".join(line + b"\n" for line in done)

    def finish(self, *, whole_end: bool = True) -> bytes:
        """The rest."""
        rest, self._rest = bytes(self._rest), bytearray()
        done: list[bytes] = []
        if self._dropping:
            done = self._released() if self._said else self._released(TOO_LONG)
        elif rest and whole_end:
            done = [*self._line(rest), *self._released()]
        else:
            done = self._released()
        return b"".join(line + b"\n" for line in done)

    def _released(self, put: bytes | None = None, *, counts: bool = False) -> list[bytes]:
        """What was held, then `put`."""
        held, self._held = self._held, None
        self.scrubbed += counts
        return [line for line in (held, put) if line is not None]

    def _line(self, line: bytes) -> list[bytes]:
        """What is ready with it: the line, and before it the one that was held; none, where it is held itself."""
        put = self._judged(line)
        if put != line:
            self.scrubbed += 1
        if self._held is not None and blocks.PEM_END.search(line) is not None:
            self._held = GONE
            self.scrubbed += 1
        done = self._released()
        if put == line and blocks.BLOB_LINE.match(self._text(line)) is not None:
            self._held = put
            return done
        return [*done, put]

    def _judged(self, line: bytes) -> bytes:
        if self._in_part(line) or self._in_pem(line):
            return GONE
        text = self._text(line)
        if self._is_next(text) or self._in_block(text) or self._in_blob(text):
            return GONE
        return scrub_line(self._known.take_out(before_end(line), GONE))

    @staticmethod
    def _text(line: bytes) -> bytes:
        prefix = blocks.JOURNAL.match(line)
        return line[prefix.end() :] if prefix is not None else line

    def _is_next(self, text: bytes) -> bool:
        """Whether the line before says that this one is a secret; and what this one says of the next."""
        if self._next and not text.strip():
            return False
        said, self._next = self._next, ""
        if said == "pair" and (found := blocks.PAIRED.match(text)) is not None:
            self._block = len(found["indent"])
            return True
        if said == "colon" and text.lstrip()[:1] == b":":
            return True
        if said == "alone" and blocks.ALONE.match(text) is not None:
            return True
        last = text.rstrip()[-1:]
        if last in (b":", b"=") or b"--" in text:
            self._next = "alone" if blocks.ENDS_TELLING.search(text[-END:]) is not None else ""
        elif b"?" in text[:80]:
            self._next = "colon" if blocks.KEY_ALONE.match(text) is not None else ""
        if not self._next and blocks.PAIR.match(text) is not None:
            self._next = "pair"
        return False

    def _in_part(self, line: bytes) -> bool:
        """A line that a container wrote in parts goes whole: the state of no other rule sees it."""
        before, self._part = self._part, b" P " in line and blocks.CRI_PART.match(line) is not None
        return before or self._part

    def _in_pem(self, line: bytes) -> bool:
        if self._pem:
            self._pem = 0 if blocks.PEM_END.search(line) else self._pem - 1
            if not self._pem:
                self._open_pem(line)
            return True
        self._open_pem(line)
        return False

    def _open_pem(self, line: bytes) -> None:
        if b"-----BEGIN" not in line:
            return
        begins = [match.end() for match in blocks.PEM_BEGIN.finditer(line)]
        if begins and blocks.PEM_END.search(line, begins[-1]) is None:
            self._pem = blocks.PEM_LINES

    def _in_block(self, text: bytes) -> bool:
        """Whether the line is deeper than the one that opened the block."""
        if self._block is not None:
            if not text.strip():
                return False
            if len(text) - len(text.lstrip(b" \t-")) > self._block:
                return True
            self._block = None
        if blocks.HEAD.match(text) is not None:
            opened = blocks.FIELD.match(text) or blocks.DATA.match(text)
            if opened is not None:
                self._block = len(opened["indent"])
        return False

    def _in_blob(self, text: bytes) -> bool:
        match = blocks.BLOB_LINE.match(text)
        if match is None:
            self._blob = False
            return False
        long = is_blob(match[1])
        rest, self._blob = self._blob, long
        return long or rest
