"""The scrubber on lines that somebody wrote to hold it up: time in proportion to the length, whatever stands there."""

from __future__ import annotations

import time

import pytest

from edge_commander.diagnostics.known import Known
from edge_commander.diagnostics.scrub import MAX_LINE, Scrubber

HOSTILE = [
    b"password ", b"password a b ", b"password is the ", b"token is ", b"pass", b"pwd", b"-p ", b"mysql -",
    b"docker x login -",
    b"echo |sudo ", b"<token a=", b"value=a,name=", b"token,value=", b"a:b@", b"$6$", b"-u a:", b"%22token", b"token =",
    b"&quot;token&quot;:", b"-----END ", b"PRIVATE KEY", b"? token", b"name: token", b"certificate ", b"login a ",
    b"token: !x ",
]  # fmt: skip


def test_hostile_lines_take_time_in_proportion_to_their_length() -> None:
    """By CPU time, and far from the bound: a pattern that blows up takes minutes for one line."""
    began = time.process_time()
    for part in HOSTILE:
        scrubber = Scrubber(Known([]))
        scrubber.feed((part * MAX_LINE)[:MAX_LINE] + b"\n")
    assert time.process_time() - began < 30.0


@pytest.mark.parametrize("letter", [b"a", b" ", b"-", b'"'])
def test_ten_megabytes_of_one_letter(letter: bytes) -> None:
    began = time.process_time()
    scrubber, count = Scrubber(Known([])), 0
    for _ in range(160):  # as one line
        count += len(scrubber.feed(letter * 65536))
    for _ in range(40):  # and as the longest lines that there are
        count += len(scrubber.feed(b"\n" + letter * (MAX_LINE - 1)))
    assert count < 2 * 40 * MAX_LINE and time.process_time() - began < 30.0
