"""Runs the test tiers, fast ones first, with a line per tier and a summary. Standard library only.

Usage: python tools/tiers.py policy unit contract integration e2e
Exit 1 when a tier failed; the tiers behind it still run, so that one run shows all.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEMORY = Path("/dev/shm")
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed)")
NOT_RUN = re.compile(r"^not run: .*$", re.MULTILINE)


def run(tier: str) -> tuple[bool, str, list[str]]:
    """Runs one tier with its output shown; returns (passed, summary line, what it says was not run).

    The files of the unit tier lie in memory: thousands of small ones, and none of its tests is about a disk.
    """
    if tier == "unit" and os.access(MEMORY, os.W_OK):
        with tempfile.TemporaryDirectory(prefix="galley-unit-", dir=MEMORY) as folder:
            return _run(tier, {"PYTEST_DEBUG_TEMPROOT": folder})
    return _run(tier, {})


def _run(tier: str, environment: dict[str, str]) -> tuple[bool, str, list[str]]:
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "--durations=5", f"tests/{tier}"],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    status = process.wait()
    counts: dict[str, int] = {}
    for number, word in COUNT.findall("".join(lines[-3:])):
        counts[word] = int(number)
    spent = time.monotonic() - began
    shown = ", ".join(f"{number} {word}" for word, number in counts.items()) or f"exit {status}"
    passed = status == 0 and counts.get("passed", 0) > 0
    line = f"tier {tier:<12} {'ok' if passed else 'FAILED':<7} {shown} in {spent:.0f} s"
    return passed, line, NOT_RUN.findall("".join(lines))


def main(tiers: list[str]) -> int:
    """Runs all tiers and prints the summary."""
    results = []
    for tier in tiers:
        print(f"--- tier {tier}", flush=True)
        results.append(run(tier))
        print(results[-1][1], flush=True)
    print("\n=== summary")
    for _, line, not_run in results:
        print(line)
        for text in sorted(set(not_run)):
            print(f"  {text}")
    return 0 if all(passed for passed, _, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
