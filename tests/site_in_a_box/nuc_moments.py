"""Moments in the life of a NUC in QEMU at which its power is cut, each told by what can be seen from outside.

`cut(machine, moment)` starts the machine where it is off, waits for the moment, and cuts. A moment that does not come
is a StartError: what was to be tried was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_commander.wipe.record import Phase, Stage, Target, WipeRecord
from tests.site_in_a_box.nuc import BOOT_SECONDS, Nuc
from tests.site_in_a_box.nuc_disk import RawDisk
from tests.site_in_a_box.process import StartError

LOOK_SECONDS = 0.005


@dataclass(frozen=True)
class Moment:
    """`come`: whether it is there now."""

    name: str
    come: Callable[[Nuc], bool]

    def __str__(self) -> str:
        return self.name


def cut(machine: Nuc, moment: Moment, seconds: float = BOOT_SECONDS) -> float:
    """Power is cut at the moment; s since the start, or since the call where it was on."""
    if machine.program is None:
        machine.start()
    began = time.monotonic()
    while not moment.come(machine):
        assert machine.program is not None
        if not machine.program.running or time.monotonic() - began > seconds:
            raise StartError(f"{machine.serial}: {moment} did not come\n{machine.console()[-4000:]}")
        time.sleep(LOOK_SECONDS)
    machine.cut_power()
    return time.monotonic() - began


def says(name: str, *texts: str) -> Moment:
    """One of these is on the console."""
    return Moment(name, lambda machine: any(text in machine.console() for text in texts))


def after(seconds: float) -> Moment:
    """So long after power came."""
    return Moment(f"after {seconds:.1f} s", lambda machine: machine.on_seconds >= seconds)


def journal(name: str, holds: Callable[[WipeRecord], bool]) -> Moment:
    """The wipe's journal says so."""

    def come(machine: Nuc) -> bool:
        record = RawDisk(machine.disks[-1]).record
        return record is not None and holds(record)

    return Moment(name, come)


def stage_of(target: Target, stage: Stage, *, amid: bool = False) -> Moment:
    """A target is there, and those before it are done; `amid`: in part overwritten."""

    def holds(record: WipeRecord) -> bool:
        state = next((one for one in record.targets if one.stage is not Stage.DONE), None)
        if record.phase is not Phase.RUNNING or state is None:
            return False
        return state.target is target and state.stage is stage and (not amid or state.offset > 0)

    return journal(f"{target.value}: {stage.value}", holds)


def shell(name: str, script: str) -> Moment:
    """The shell answers, and the script ends well."""

    def come(machine: Nuc) -> bool:
        try:
            machine.run(script, seconds=15)
        except (TimeoutError, RuntimeError):
            return False
        return True

    return Moment(name, come)


FIRMWARE = says("the firmware", "BdsDxe: starting")
KERNEL = says("the kernel", "Linux version")
INITRD = says("the initrd", "Run /init as init process")
EARLY = says("early boot", "EXT4-fs (")  # nothing else mounts one before systemd is there
SYSTEMD = shell("systemd", "true")
DAEMONS = shell("the daemons", "systemctl is-active galley-edge-commander")
ARMED = journal("armed", lambda record: record.phase is Phase.ARMED)
DONE = journal("done", lambda record: record.phase is Phase.DONE)
