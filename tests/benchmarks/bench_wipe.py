"""The wipe engine beside dd on the same loop device in the same run: erase and verify of a plain target, and a whole
wipe of a LUKS2 target. Needs root.

python -m tests.benchmarks.bench_wipe [--mib 448] [--rounds 3]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from edge_commander.wipe import engine as engines
from edge_commander.wipe import record as records
from edge_commander.wipe.disk import Disk
from edge_commander.wipe.engine import Engine
from edge_commander.wipe.journal import Journal
from edge_commander.wipe.partitions import Partitions
from edge_commander.wipe.plan import state_of
from edge_commander.wipe.record import Target
from tests.fakes import wipe_kit as kit
from tests.site_in_a_box.node_disk import NodeDisk, run

MIB = 1024 * 1024


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def dd(source: str, target: str, mib: int, *flags: str) -> None:
    subprocess.run(["dd", f"if={source}", f"of={target}", "bs=4M", f"count={mib // 4}", *flags], check=True,
                   capture_output=True)  # fmt: skip


def one_engine(disk: NodeDisk, journal: Disk) -> Engine:
    from edge_commander.settings import WipeSettings

    settings = WipeSettings(**disk.config())
    return Engine(Journal(journal), Partitions(settings), lambda: kit.WARRANT, lambda text: None, lambda: None)


def plain(disk: NodeDisk, mib: int, rounds: int) -> dict[str, float]:
    """MB/s, the median of some rounds taken in turn."""
    device = str(disk.device["conf"])
    found: dict[str, list[float]] = {"erase": [], "dd write": [], "verify": [], "dd read": []}
    with Disk(disk.device["journal"]) as journal:
        engine = one_engine(disk, journal)
        for _ in range(rounds):
            state = state_of(Target.CONF, mib * MIB, b"")
            record = records.surveyed(kit.armed(targets=["conf"]), [state])
            found["dd write"].append(seconds(lambda: dd("/dev/zero", device, mib, "oflag=direct", "conv=fsync")))
            found["erase"].append(seconds(lambda: engine._erase(record, state)))  # noqa: B023
            found["dd read"].append(seconds(lambda: dd(device, "/dev/null", mib, "iflag=direct")))
            found["verify"].append(seconds(lambda: engine._verified(record, state)))  # noqa: B023
    return {name: mib * MIB / 1e6 / median(times) for name, times in found.items()}


def luks(disk: NodeDisk, key: Path) -> float:
    """s from the engine's start to its end."""
    device = str(disk.device["var"])
    run("cryptsetup", "luksFormat", "--type", "luks2", "--batch-mode", "--key-file", str(key), "--pbkdf", "pbkdf2",
        "--pbkdf-force-iterations", "1000", device)  # fmt: skip
    with Disk(disk.device["journal"]) as journal:
        Journal(journal).write_both(kit.armed(targets=["var"]))
        spent = seconds(lambda: one_engine(disk, journal).run())
        record = Journal(journal).record
    assert record is not None
    assert record.targets[0].method.value == "header"
    assert record.phase is records.Phase.DONE
    return spent


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=448)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    sizes = {"journal": 1, "ident": 8, "keep": 8, "conf": options.mib, "var": 1024}
    with tempfile.TemporaryDirectory(prefix="galley-bench-") as folder, NodeDisk(Path(folder), sizes) as disk:
        key = Path(folder) / "key"
        key.write_text("correct horse")
        speed = plain(disk, options.mib, options.rounds)
        whole = luks(disk, key)
    print(f"plain target of {options.mib} MiB on a loop device, journal writes every {engines.RECORD_EVERY // MIB} MiB")
    for ours, theirs in (("erase", "dd write"), ("verify", "dd read")):
        ratio = speed[ours] / speed[theirs]
        print(f"  {ours:<8} {speed[ours]:7.0f} MB/s   {theirs:<9} {speed[theirs]:7.0f} MB/s   ratio {ratio:.2f}")
    print(f"LUKS2 target of 1024 MiB, engine's start to verified: {whole:.2f} s (limit 5 s)")
    return 0 if speed["erase"] >= 0.8 * speed["dd write"] and whole <= 5 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
