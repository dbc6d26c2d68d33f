"""HTTP bodies are read to their end: `StreamReader.read(n)` gives what happens to be buffered, at most n bytes."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("agents", "cloud_endpoint", "edge_commander", "heartbeat", "synthetic_client", "vessel")
PARTIAL = re.compile(r"\.content\.read(any|chunk)?\(")


def test_no_client_reads_only_what_is_buffered() -> None:
    found = [
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if PARTIAL.search(file.read_text())
    ]
    assert not found, "use agents.io.http.read_limited"
