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
BROKEN = re.compile(r"^(?:FAILED|ERROR) ([^\s:]+\.py)::", re.MULTILINE)
NOT_RUN = re.compile(r"^not run: .*$", re.MULTILINE)


LANES = {"contract": ("commander",), "integration": ("vessel", "kube")}
"""Folders of a tier that are run beside the rest of it, by a process of their own: most of both is waiting."""
APART = {"e2e": ("test_image_wiped.py", "test_image_updates.py", "test_image_luks.py", "test_image_site.py")}
"""What `make test-image` runs alone: machines under emulation, for which an hour is too short. The summary says so."""
AGAIN = {"contract": 1, "integration": 2, "e2e": 1}
"""How many files of a tier may fail once: real servers and hosts on a machine that is busy with something else. They
run again, alone, and the summary names them. More of them, or one that fails again, is a fault; so is any elsewhere."""


def run(tier: str) -> tuple[bool, str, list[str]]:
    """Runs one tier with its output shown; returns (passed, summary line, what else the summary says).

    The files of the unit tier lie in memory: thousands of small ones, and none of its tests is about a disk.
    """
    began = time.monotonic()
    if tier == "unit" and os.access(MEMORY, os.W_OK):
        with tempfile.TemporaryDirectory(prefix="galley-unit-", dir=MEMORY) as folder:
            lanes = [_Lane([f"tests/{tier}"], {"PYTEST_DEBUG_TEMPROOT": folder}).ended()]
    else:
        started = [_Lane(words, {}) for words in _lanes(tier)]
        lanes = [one.ended() for one in started]
    counts: dict[str, int] = {}
    for _, lines in lanes:
        for number, word in COUNT.findall("".join(lines[-3:])):
            counts[word] = counts.get(word, 0) + int(number)
    unstable = _unstable(tier, lanes)
    spent = time.monotonic() - began
    shown = ", ".join(f"{number} {word}" for word, number in counts.items()) or f"exit {lanes[0][0]}"
    passed = (bool(unstable) or all(status == 0 for status, _ in lanes)) and counts.get("passed", 0) > 0
    line = f"tier {tier:<12} {'ok' if passed else 'FAILED':<7} {shown} in {spent:.0f} s"
    said = [f"UNSTABLE: {name} failed, and passed when it was run again: see above" for name in unstable]
    said += [f"not run: tests/{tier}/{name}: `make test-image` does" for name in APART.get(tier, ())]
    return passed, line, said + NOT_RUN.findall("".join(line for _, lines in lanes for line in lines))


def _unstable(tier: str, lanes: list[tuple[int, list[str]]]) -> list[str]:
    """The files that failed, if they are few enough to be run again and pass then."""
    if all(status == 0 for status, _ in lanes) or any(status not in (0, 1) for status, _ in lanes):
        return []
    files = [set(BROKEN.findall("".join(lines))) for _, lines in lanes]
    if any(status == 1 and not found for (status, _), found in zip(lanes, files, strict=True)):
        return []  # it was ended by something else than a test
    names = sorted(set().union(*files))
    if len(names) > AGAIN.get(tier, 0):
        return []
    print(f"--- tier {tier}: once more, alone: {', '.join(names)}", flush=True)
    status, _ = _Lane(names, {}).ended()
    return names if status == 0 else []


def _lanes(tier: str) -> list[list[str]]:
    """What each process is told to run: the rest first, whose output is shown as it comes."""
    beside = [f"tests/{tier}/{name}" for name in LANES.get(tier, ())]
    apart = [f"tests/{tier}/{name}" for name in APART.get(tier, ())]
    rest = [f"tests/{tier}", *(f"--ignore={name}" for name in [*beside, *apart])]
    return [rest, beside] if beside else [rest]


class _Lane:
    """One pytest. What it says goes to a file, so that no lane waits for a reader."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        written = tempfile.NamedTemporaryFile("w", prefix="galley-tier-")  # noqa: SIM115 - as long as we read it
        self._out = Path(written.name).open()  # noqa: SIM115 - with an offset of its own
        with written:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-q", "--durations=5", *words],
                cwd=ROOT,
                env=os.environ | environment,
                stdout=written,
                stderr=subprocess.STDOUT,
            )

    def ended(self) -> tuple[int, list[str]]:
        """Shows what it says, until its end; the exit status, and all lines."""
        said: list[str] = []
        with self._out:
            while True:
                status = self._process.poll()
                said.append(self._out.read())
                print(said[-1], end="", flush=True)
                if status is not None and not said[-1]:
                    return status, "".join(said).splitlines(keepends=True)
                time.sleep(0.2)


def main(tiers: list[str]) -> int:
    """Runs all tiers and prints the summary."""
    results = []
    for tier in tiers:
        print(f"--- tier {tier}", flush=True)
        results.append(run(tier))
        print(results[-1][1], flush=True)
    print("\n=== summary")
    for _, line, more in results:
        print(line)
        for text in sorted(set(more)):
            print(f"  {text}")
    return 0 if all(passed for passed, _, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
