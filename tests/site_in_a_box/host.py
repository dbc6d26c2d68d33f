"""One host with a real systemd, in systemd-nspawn on an overlay of a tree. It shares this machine's network, unless
it is told otherwise.

The guest sees a bare cgroup2 of its own (its mount namespace gets a fresh one), as cgroups here may be hybrid.
Needs root. All methods block.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.site_in_a_box import host_tree
from tests.site_in_a_box.process import Program

BOOT_SECONDS = 60
PID1 = "systemd"

START = """
set -e
mount --make-rprivate /
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/{name}
echo $$ > /sys/fs/cgroup/{name}/cgroup.procs  # else all guests share one tree, and stop one another's units
{mount}
while true; do
    status=0
    setpriv --pdeathsig KILL systemd-nspawn --quiet --register=no --keep-unit --boot --directory={folder}/root \
        --machine={name} --resolv-conf=off --timezone=off --link-journal=no --console=pipe {options} || status=$?
    [ $status = 133 ] || exit $status  # 133: the guest asked for a reboot
    find /sys/fs/cgroup/{name} -mindepth 1 -depth -type d -exec rmdir {{}} + 2>/dev/null || true
    tree={folder}/root
    facts=$tree/etc/galley/machine.json
    [ ! -f $facts ] || sed -i 's/"boot_id": "[^"]*/"boot_id": "'$(cat /proc/sys/kernel/random/uuid)/ $facts
done
"""
"""A reboot keeps the guest's disks and mounts; where its facts are played by a file, the boot id there is a new one."""

MOUNT = "mount -t overlay overlay -o lowerdir={lower},upperdir={folder}/upper,workdir={folder}/work {folder}/root"

SWEEP = """
set -e
mount --make-rprivate /
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for attempt in $(seq 50); do
    [ ! -d /sys/fs/cgroup/{name} ] || find /sys/fs/cgroup/{name} -depth -type d -exec rmdir {{}} + 2>/dev/null || true
    [ -d /sys/fs/cgroup/{name} ] || exit 0
    sleep 0.1
done
exit 1
"""
"""Removes a guest's control groups, which the kernel keeps when it is gone."""


class Host:
    """A booted machine. `options`: more arguments of systemd-nspawn, such as `--bind=`. `tree`: what it boots from.
    `enter`: a command that runs the starter elsewhere, such as `nsenter` with its arguments.
    """

    boot_seconds: float = BOOT_SECONDS
    mount = MOUNT
    """How its root gets to `{folder}/root` out of the tree, `{lower}`."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        tree: Path,
        options: Sequence[str] = (),
        enter: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.folder = folder
        self.tree = tree
        for part in ("upper", "work", "root"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        mount = self.mount.format(lower=self.tree, folder=folder)
        script = START.format(name=name, mount=mount, folder=folder, options=" ".join(options))
        self.program = Program(
            f"host {name}",
            [*enter, "unshare", "--mount", "--propagation=private", "bash", "-c", script],
            log=folder / "console.log",
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", **(environ or {})},
        )
        self._pid1 = 0

    @property
    def pid1(self) -> int:
        """The guest's PID 1, after a reboot of its own the new one; 0 where there is none."""
        if not (self._pid1 and _is_init(self._pid1)):
            self._pid1 = self._find_pid1() if self.program.running else 0
        return self._pid1

    def path(self, inside: str) -> Path:
        """A file of the guest before it boots (the overlay's upper): to lay configuration there."""
        target = self.folder / "upper" / inside.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def prepare(self) -> None:
        """Lays the suite into the guest; call before `boot`."""
        root = self.folder / "root"
        options = f"lowerdir={self.tree},upperdir={self.folder}/upper,workdir={self.folder}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)], check=True)
        try:
            host_tree.install_suite(root)
            (root / "etc/machine-id").write_text(uuid.uuid4().hex + "\n")
        finally:
            subprocess.run(["umount", str(root)], check=True)

    def boot(self) -> None:
        """Boots, and returns when systemd answers; StartError with the console's tail otherwise."""
        self.program.start()
        self.program.wait_ready(self._booted, seconds=self.boot_seconds, what="booted")

    def wait_rebooted(self, before: int) -> None:
        """Returns when the guest, whose PID 1 was `before`, has booted anew by itself; StartError otherwise."""
        self.program.wait_ready(lambda: self._booted(before), seconds=self.boot_seconds, what="booted anew")

    def _booted(self, before: int = 0) -> bool:
        self._pid1 = self._find_pid1()
        if self.pid1 in (0, before):
            return False
        state = self.run("systemctl", "is-system-running", check=False).strip()
        return state in ("running", "degraded")

    def _find_pid1(self) -> int:
        """The guest's PID 1: nspawn's descendant that is called systemd (its first child is a helper at first)."""
        todo = [self.program.pid]
        while todo:
            parent = todo.pop()
            try:
                tasks = list(Path(f"/proc/{parent}/task").iterdir())
                children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
                for child in children:
                    if _is_init(child):
                        return child
            except OSError:
                continue
            todo += children
        return 0

    def run(self, *command: str, check: bool = True, seconds: float = 60) -> str:
        """Runs a command as root in the guest; returns its output (both streams)."""
        done = self.call(*command, seconds=seconds, errors=subprocess.STDOUT)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} in {self.name} failed ({done.returncode}):\n{done.stdout[-3000:]}")
        return done.stdout

    def call(
        self, *command: str, seconds: float = 60, errors: int = subprocess.PIPE
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command as root in the guest, whatever comes of it. `errors`: where its stderr goes."""
        enter = ["nsenter", "-t", str(self.pid1), "-m", "-u", "-i", "-p", "-n", "-C", "--"]
        environment = {
            "PATH": "/opt/galley/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "SYSTEMD_COLORS": "0",
        }
        return subprocess.run(
            [*enter, *command], stdout=subprocess.PIPE, stderr=errors, text=True,
            env=environment, timeout=seconds, check=False,
        )  # fmt: skip

    def property(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def wait_property(self, unit: str, name: str, wanted: str, *, seconds: float = 30) -> None:
        """Waits until a unit's property has a value; AssertionError with the journal's tail otherwise."""
        deadline = time.monotonic() + seconds
        while (now := self.property(unit, name)) != wanted:
            if time.monotonic() > deadline:
                journal = self.run("journalctl", "-u", unit, "-n", "30", "--no-pager", check=False)
                raise AssertionError(f"{unit}: {name} is {now!r}, not {wanted!r}, after {seconds:.0f} s\n{journal}")
            time.sleep(0.1)

    def power_off(self) -> None:
        """A clean shutdown, then whatever is left is killed."""
        if self.pid1 and self.program.running:
            os.kill(self.pid1, signal.SIGRTMIN + 4)
            self.program._wait(20)
        self.program.stop(grace=2)
        self._sweep()

    def cut_power(self) -> None:
        """SIGKILL to PID 1: everything in the guest is gone at once."""
        if self.pid1:
            os.kill(self.pid1, signal.SIGKILL)
            self.program._wait(10)
        self.program.kill()
        self._sweep()

    def _sweep(self) -> None:
        self._pid1 = 0
        script = SWEEP.format(name=self.name)
        subprocess.run(
            ["unshare", "--mount", "--propagation=private", "bash", "-c", script],
            check=False, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def remove(self) -> None:
        """Removes the guest's own files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.boot()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.power_off()


def _is_init(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == PID1
    except OSError:
        return False
