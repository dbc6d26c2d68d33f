"""docs/bad-input.md names, for each wrong input, a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.findall(r"^\| ([^|]+) \|[^|]+\| `(tests/[^`:]+)::(\w+)` \|$", (ROOT / "docs/bad-input.md").read_text(), re.M)


def test_every_row_is_read() -> None:
    lines = [line for line in (ROOT / "docs/bad-input.md").read_text().splitlines() if line.startswith("| ")]
    assert len(ROWS) == len(lines) - 1 >= 20  # the head


@pytest.mark.parametrize(("what", "file", "test"), ROWS)
def test_it_is_shown(what: str, file: str, test: str) -> None:
    assert re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text(), re.M), f"{what}: {file} has no {test}"
