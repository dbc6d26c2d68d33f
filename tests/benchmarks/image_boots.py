"""Boots for the image's benchmark: a node's second start and a bare image's, emulated; what systemd says of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from images.nuc import chroot
from images.nuc.build import Built
from tests.site_in_a_box.gpt import partitions
from tests.site_in_a_box.nuc import Nuc, blank_disk, stick
from tests.site_in_a_box.nuc_shop import SCENARIO

UNITS = ("edge-commander", "heartbeat", "vessel", "synthetic-client", "discovery")
NOWHERE = "https://10.0.2.100:8443"
PATIENCE = 900.0
SETTINGS = {
    "v": 1,
    "endpoint": {"urls": [NOWHERE], "issuer": NOWHERE, "ca_file": "/etc/galley/ca.pem"},
    "synthetic_client": {"scenario": "/etc/galley/scenario.yaml"},
}
PSS = r"""
for name in UNITS; do
    pid=$(systemctl show --value -p MainPID "galley-$name")
    printf '%s %s\n' "$name" "$(sed -n 's/^Pss: *\([0-9]*\) kB/\1/p' "/proc/$pid/smaps_rollup")"
done
"""
SPENT = r"""
for unit in $(systemctl list-units --all --type=service --no-legend --plain | cut -d' ' -f1); do
    printf '%s %s\n' "$unit" "$(systemctl show --value -p CPUUsageNSec "$unit")"
done
"""


@dataclass(frozen=True)
class Boot:
    """From power on to the last job of systemd's first queue: s on the wall, s of the machine's CPU; s of both parts
    as systemd counts them."""

    wall: float
    cpu: float
    kernel: float
    userspace: float


STARTED = """
for name in UNITS; do
    systemctl show -p Id -p ActiveState -p NRestarts "galley-$name" | tr '\\n' ' '
done
"""


def boot(machine: Nuc, *, first: bool = False) -> Boot:
    """Starts it, and waits until nothing is to be started any more. Fails where a unit failed."""
    began = time.monotonic()
    machine.start()
    machine.wait_shell(PATIENCE)
    state = machine.run("systemctl is-system-running --wait", seconds=PATIENCE, check=False).strip()
    wall = time.monotonic() - began
    assert machine.program is not None
    cpu = cpu_seconds(machine.program.pid)
    if state != "running" and not first:
        raise AssertionError(f"{state}: {machine.run('systemctl --failed --no-legend --plain', check=False)}")
    said = machine.run("systemd-analyze time")
    return Boot(wall, cpu, _seconds(said, "kernel"), _seconds(said, "userspace"))


def all_started(machine: Nuc) -> None:
    """Fails where a daemon is not active, or was not at its first attempt: systemd counts neither as a failure."""
    said = machine.run(STARTED.replace("UNITS", " ".join(UNITS)))
    if said.count("ActiveState=active") != len(UNITS) or said.count("NRestarts=0 ") != len(UNITS):
        raise AssertionError(f"not all daemons were started at once: {said}")


def _seconds(said: str, part: str) -> float:
    found = re.search(rf"((?:\d+min )?[0-9.]+m?s) \({part}\)", said)
    assert found is not None, said
    minutes, _, rest = found[1].rpartition("min ")
    number = float(rest.removesuffix("ms")) / 1000 if rest.endswith("ms") else float(rest.removesuffix("s"))
    return 60 * int(minutes or 0) + number


def cpu_seconds(pid: int) -> float:
    """What a process and its threads have used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss(machine: Nuc) -> dict[str, float]:
    """PSS of each daemon, MB (10^6 bytes)."""
    said = machine.run(PSS.replace("UNITS", " ".join(UNITS)))
    return {name: int(kib) * 1024 / 1e6 for name, kib in (line.split() for line in said.split("\n") if line)}


def spent(machine: Nuc, most: int = 12) -> dict[str, float]:
    """CPU of the services that have used most of it so far, s."""
    said = (line.partition(" ") for line in machine.run(SPENT).splitlines())
    found = {unit: int(number) / 1e9 for unit, _, number in said if number.isdecimal()}  # others: "[not set]"
    return dict(sorted(found.items(), key=lambda one: -one[1])[:most])


def installed(built: Built, folder: Path) -> Path:
    """A disk that the image has installed itself on and been started from, with settings; shut down in order."""
    for name in ("stick", "disk", "files/galley"):
        (folder / name).mkdir(parents=True)
    medium = stick(built, folder / "stick/stick.raw")
    put_settings(built, medium, folder / "files")
    machine = Nuc(built, folder / "first", [medium, blank_disk(folder / "disk/disk.raw")])
    try:
        boot(machine, first=True)
        machine.power_off()
    finally:
        machine.cut_power()
    medium.unlink()
    return folder / "disk/disk.raw"


def put_settings(built: Built, medium: Path, files: Path) -> None:
    """galley.yaml and its files on the medium's esp. The endpoint is out of reach: a start waits for none."""
    key = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=x",
    ]
    made = [*key, "-keyout", "/dev/null", "-out", str(files / "galley/ca.pem")]
    subprocess.run(made, check=True, capture_output=True)
    (files / "galley.yaml").write_text(yaml.safe_dump(SETTINGS))
    (files / "galley/scenario.yaml").write_text(yaml.safe_dump(SCENARIO))
    at = f"/run/medium/{medium.name}@@{partitions(medium)['esp'].start}"
    chroot.inside(
        built.toolbox, "mcopy", "-s", "-i", at, "/run/files/galley.yaml", "/run/files/galley", "::",
        binds={medium.parent: "medium", files: "files"},
    )  # fmt: skip


def copy_of(disk: Path, folder: Path) -> Path:
    """A disk to be started from and thrown away."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / disk.name
    subprocess.run(["cp", "--sparse=always", str(disk), str(target)], check=True)
    return target


def discard(folder: Path) -> None:
    """Removes it."""
    shutil.rmtree(folder, ignore_errors=True)
