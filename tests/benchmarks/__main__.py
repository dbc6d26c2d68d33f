"""`make bench`: all benchmarks, one after the other, each with its table.

`make bench ARGS=bench_node` runs one.
"""

from __future__ import annotations

import subprocess
import sys
import time

ALL = (
    "bench_vessel",
    "bench_node",
    "bench_siblings",
    "bench_formation",
    "bench_ingest",
    "bench_page",
    "bench_wipe",
    "bench_image",
)


def main(chosen: list[str]) -> int:
    """Runs the chosen benchmarks (default: all), each in a process of its own; the exit status is the worst."""
    unknown = sorted(set(chosen) - set(ALL))
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(ALL)}", file=sys.stderr)
        return 2
    worst = 0
    for name in chosen or ALL:
        began = time.monotonic()
        print(f"\n## {name}", flush=True)
        worst = max(worst, subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=False).returncode)
        print(f"({name}: {time.monotonic() - began:.0f} s)", flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
