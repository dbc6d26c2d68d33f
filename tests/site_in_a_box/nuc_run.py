"""`make image-run`: the NUC image in QEMU, as a person with a stick and a NUC would have it, without either.

`STICK=DIR`: its files are copied onto the stick. `DISK=FILE`: the machine's own disk, which stays; the first start
makes a node of it from the stick, the next ones are from it. The machine reaches nothing but what `--forward` names.
Needs root.

The serial console is shown until the machine's own screen is there, then that, whenever it changes. It is read through
a root shell that QEMU hands in (nuc.py): none is in the image.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import re
import shutil
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from images.nuc import build, chroot, cluster
from tests.site_in_a_box import nuc_sight
from tests.site_in_a_box.nuc import GATEWAY, Nuc, blank_disk, copy_onto, stick
from tests.site_in_a_box.nuc_trial import DISK_GIB, BadTrial, Trial, alone, check_kvm, check_port, forwards, judge
from tests.site_in_a_box.process import StartError

PAGE_PORT = 9412
LOOK_SECONDS = 3.0
OFF_SECONDS = 120.0
SILENT_SECONDS = 60.0
STEERS = re.compile(r"\x1b(\[[0-9;?=]*[A-Za-z]|[^\[])|[^\x20-\x7e\n\u00a0-\uffff]")
"""What would move the cursor of the terminal that shows a machine's console."""


def say(text: str) -> None:
    """One line, at once."""
    print(text, flush=True)


def expected(trial: Trial, *, kvm: bool) -> str:
    """What is started, and what it takes."""
    first = f"{trial.disk} is blank: the machine starts from the stick and makes a node of it"
    again = f"{trial.disk} is a node's: the machine starts from it, and the stick stays out"
    took = "far less than emulated" if kvm else "4 to 6 minutes, as all of it is emulated (KVM=1 where KVM works)"
    return f"{first if trial.blank else again}; expected until its screen is there: {took}"


def watch(machine: Nuc, port: int, *, leave: bool) -> None:
    """Shows its screen until it goes off; with `leave` until its page was there."""
    say(f"\n--- its screen, whenever it changes (the serial console goes on in {machine.folder / 'console.log'})")
    seen, page = "", ""
    while _on(machine):
        rows = _screen(machine)
        if rows and (now := _lasting(rows)) != seen:
            seen = now
            _draw(rows)
        if not page and "<html" in (page := _page(port)):
            say(f"--- its page is there: http://127.0.0.1:{port}/ ({machine.on_seconds:.0f} s after power)")
            if leave:
                return
        time.sleep(LOOK_SECONDS)
    say("--- the machine went off by itself, or would start again; the same command starts it from its disk")


def _on(machine: Nuc) -> bool:
    return machine.program is not None and machine.program.running


def _screen(machine: Nuc) -> list[str]:
    """Empty while it is the kernel's, or cannot be read."""
    with contextlib.suppress(TimeoutError, RuntimeError, OSError, ValueError, StartError):
        rows = nuc_sight.text(machine)
        if rows and rows[0].startswith("Galley"):
            return rows
    return []


def _lasting(rows: Sequence[str]) -> str:
    """What of a screen is news: not the clock, nor how long something has lasted."""
    return re.sub(r"\d+", "", "\n".join(rows))


def _draw(rows: Sequence[str]) -> None:
    width = shutil.get_terminal_size((200, 50)).columns
    say("\n" + "\n".join(STEERS.sub(" ", row)[:width] for row in rows) + "\n")


def _page(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return str(answer.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException):
        return ""


@contextlib.contextmanager
def _console_shown(machine: Nuc) -> Iterator[None]:
    """What the serial console says, as it comes."""
    over = threading.Event()

    def show() -> None:
        at, began, warned = 0, time.monotonic(), False
        while not over.wait(0.3):
            said = machine.console()
            print(STEERS.sub("", said[at:]), end="", flush=True)
            at = len(said)
            if machine.kvm and not at and not warned and time.monotonic() - began > SILENT_SECONDS:
                say(f"nothing after {SILENT_SECONDS:.0f} s: KVM may not work on this machine; try it without KVM=1")
                warned = True

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def off(machine: Nuc, *, answers: bool) -> None:
    """In order where it answers; a second Ctrl-C cuts the power. Nothing of it is left running."""
    try:
        if answers and _on(machine):
            say("\nshutting it down (up to 2 minutes; Ctrl-C again cuts the power)")
            machine.power_off(OFF_SECONDS)
    except KeyboardInterrupt:
        pass
    finally:
        machine.cut_power()
        say("the machine is off")


def media(trial: Trial, built: build.Built) -> list[Path]:
    """The disks of the machine, made where they are missing; it starts from the first one."""
    if trial.missing:
        blank_disk(trial.disk, DISK_GIB)
    if not trial.blank:
        return [trial.disk]
    medium = trial.folder / "stick" / "stick.raw"
    medium.parent.mkdir(exist_ok=True)
    stick(built, medium)
    if trial.stick is not None:
        copy_onto(built, medium, trial.stick)
    return [medium, trial.disk]


def tried(trial: Trial, built: build.Built, options: argparse.Namespace) -> None:
    """The machine's time from power to off. What is left is its disk, and `trial.folder`."""
    try:
        machine = Nuc(
            built, trial.folder, media(trial, built), serial=options.serial, tpm=options.tpm, memory=options.memory,
            forward=forwards(options.forward),
        )  # fmt: skip
        machine.publish = {PAGE_PORT: options.port}
        machine.kvm = options.kvm
        answers = False
        try:
            machine.start()
            say("power is on; Ctrl-C shuts the machine down. Its serial console:\n")
            with _console_shown(machine):
                machine.wait_shell()
                answers = True
                while _on(machine) and not _screen(machine):
                    time.sleep(LOOK_SECONDS)
            watch(machine, options.port, leave=options.exit)
        finally:
            off(machine, answers=answers)
    finally:
        shutil.rmtree(trial.folder / "stick", ignore_errors=True)


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make image-run", description="The NUC image in QEMU.")
    parser.add_argument("--stick", type=Path, metavar="DIR", help="its files are copied onto the stick")
    parser.add_argument("--disk", type=Path, metavar="FILE", default=Path("build/nuc.raw"), help="default: %(default)s")
    parser.add_argument("--tpm", action="store_true", help="the machine has a TPM 2.0 (swtpm)")
    parser.add_argument("--kvm", action="store_true", help="not emulated: where /dev/kvm works")
    parser.add_argument("--port", type=int, default=PAGE_PORT, help="of loopback, for its page (default: %(default)s)")
    parser.add_argument("--memory", type=int, metavar="MIB", default=1024, help="default: %(default)s; a cluster: 4096")
    parser.add_argument(
        "--forward", action="append", default=[], metavar="PORT:PORT",
        help=f"what the machine calls at {GATEWAY}:PORT is answered by that port of this host's loopback",
    )  # fmt: skip
    parser.add_argument("--serial", default="GALLEY-NUC-0001", help="of the machine (default: %(default)s)")
    parser.add_argument("--exit", action="store_true", help="stop when its page is there")
    parser.add_argument("--version", default="", help="of the image")
    parser.add_argument("--kube", type=Path, metavar="DIR", help="programs of upstream Kubernetes in the image")
    parser.add_argument("--k3s", type=Path, metavar="FILE", help="k3s in the image")
    return parser.parse_args(argv)


def main() -> int:
    """1: it could not be tried."""
    options = parsed()
    try:
        if options.disk == Path("build/nuc.raw"):
            options.disk.parent.mkdir(exist_ok=True)
        trial = judge(options.stick, options.disk)
        forwards(options.forward)
        check_port(options.port)
        if options.kvm:
            check_kvm()
        if os.geteuid() != 0:
            raise BadTrial("root is needed: the programs for it are in a Debian of their own, which is entered")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.default_int_handler)
        say(expected(trial, kvm=options.kvm))
        if trial.stick is not None and trial.blank and not (trial.stick / "galley.yaml").is_file():
            say(f"there is no galley.yaml in {trial.stick}: the screen will say what to do")
        programs = cluster.programs(options.kube, options.k3s)
        with alone(trial):
            tried(trial, build.ensure(programs, version=options.version), options)
        return 0
    except KeyboardInterrupt:
        return 0
    except (BadTrial, StartError, chroot.BuildError, OSError) as error:
        print(f"make image-run: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
