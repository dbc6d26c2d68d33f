"""A NUC in QEMU: the image's disks, firmware, a TPM where wanted, and a root shell that only the test can open.

The image stays as it is: the shell is a unit that QEMU's firmware tables hand over (a credential of systemd's), on a
second serial port. Its network reaches nothing but what `forward` names. Emulated, so slow: every wait is long, and
systemd's own deadlines are lengthened by the same way. Needs root.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from images.nuc import chroot
from images.nuc.build import Built
from tests.site_in_a_box.gpt import partitions
from tests.site_in_a_box.lan import Lan
from tests.site_in_a_box.process import Program, StartError

BOOT_SECONDS = 900.0
GATEWAY = "10.0.2.100"
"""The address that `forward` is reached at in the guest."""
ADDRESS = "10.0.2.15"
"""What QEMU's network gives a machine."""
TAP = "tap0"
FIRMWARE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
VARIABLES = "usr/share/OVMF/OVMF_VARS_4M.fd"
SHELL = """\
[Unit]
Description=A root shell for the test
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target

[Service]
ExecStart=/bin/sh
StandardInput=tty
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
Restart=always
Environment=PATH=/opt/galley/bin:/usr/sbin:/usr/bin LC_ALL=C.UTF-8 PS1= SYSTEMD_COLORS=0 SYSTEMD_PAGER=
"""
PATIENT = "systemd.default_timeout_start_sec=900 systemd.default_device_timeout_sec=900"
CONSOLE = "console=ttyS0 loglevel=7"
"""Said last, so /dev/console is the first serial port, which the test reads, and not the screen; the kernel's own lines
are how its moments are told."""
UNHURRIED = "[Service]\nTimeoutStartSec=900\nTimeoutStopSec=300\nWatchdogSec=900\n"
"""For the units that bring deadlines of their own, made for a real machine."""
DAEMONS = ("edge-commander", "heartbeat", "vessel", "synthetic-client", "discovery", "lan-page")
WANTED = "[Unit]\nWants=galley-test-shell.service\n"
RELAY = """\
import os, socket, sys, threading
link = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def up():
    while data := os.read(0, 65536):
        link.sendall(data)
    link.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := link.recv(65536):
    while data:
        data = data[os.write(1, data):]
"""


class Nuc:
    """One machine. `disks`: raw files, the first one is booted. `forward`: port at GATEWAY to a port of this host's
    loopback. `lan`: the one that it hangs on instead. `clock`: what its battery clock says at the start, such as
    `2031-01-01T00:00:00`. `publish`: a port of the machine, which has the address ADDRESS by DHCP, to a port of this
    host's loopback. `kvm`: not emulated."""

    def __init__(
        self,
        built: Built,
        folder: Path,
        disks: Sequence[Path],
        *,
        serial: str = "GALLEY-NUC-0001",
        forward: Mapping[int, int] | None = None,
        tpm: bool = False,
        memory: int = 1024,
        lan: Lan | None = None,
    ) -> None:
        self.built = built
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.disks = list(disks)
        self.serial = serial
        self.forward = dict(forward or {})
        self.tpm = tpm
        self.memory = memory
        self.lan = lan
        self.clock = ""
        self.publish: dict[int, int] = {}
        self.kvm = False
        self.program: Program | None = None
        self._tpm: Program | None = None
        self._link: socket.socket | None = None
        self._count = 0
        self.began = 0.0
        if not (folder / "vars.fd").exists():
            shutil.copy(built.toolbox / VARIABLES, folder / "vars.fd")
        (folder / "relay.py").write_text(RELAY)
        self._credentials()

    def _credentials(self) -> None:
        texts = {
            "systemd.extra-unit.galley-test-shell.service": SHELL,
            "systemd.unit-dropin.sysinit.target~test": WANTED,
            **{f"systemd.unit-dropin.galley-{name}.service~test": UNHURRIED for name in DAEMONS},
        }
        for number, (name, text) in enumerate(texts.items()):
            coded = base64.b64encode(text.encode()).decode()
            (self.folder / f"smbios-{number}").write_text(f"io.systemd.credential.binary:{name}={coded}")
        line = f"io.systemd.stub.kernel-cmdline-extra={PATIENT} {CONSOLE}"
        (self.folder / f"smbios-{len(texts)}").write_text(line)
        self._strings = ",".join(f"path=/run/vm/smbios-{number}" for number in range(len(texts) + 1))

    def _command(self) -> list[str]:
        net = "user,id=net,restrict=on"
        for port, here in self.forward.items():
            net += f",guestfwd=tcp:{GATEWAY}:{port}-cmd:python3 /run/vm/relay.py {here}"
        for port, here in self.publish.items():
            net += f",hostfwd=tcp:127.0.0.1:{here}-{ADDRESS}:{port}"
        if self.lan is not None:
            net = f"tap,id=net,ifname={TAP},script=no,downscript=no"
        runs_on = ["-accel", "tcg,thread=multi", "-cpu", "qemu64,+rdrand", "-smp", "1"]
        if self.kvm:
            runs_on = ["-accel", "kvm", "-cpu", "host", "-smp", "2"]
        command = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-name", self.serial, "-machine", "q35", *runs_on,
            "-m", str(self.memory), "-display", "none", "-vga", "std", "-no-reboot",
            "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE}",
            "-drive", "if=pflash,format=raw,unit=1,file=/run/vm/vars.fd",
            "-serial", "file:/run/vm/console.log", "-serial", "unix:/run/vm/shell,server=on,wait=off",
            "-qmp", "unix:/run/vm/qmp,server=on,wait=off",
            "-netdev", net, "-device", "virtio-net-pci,netdev=net,romfile=",
            "-smbios", f"type=1,manufacturer=Intel(R) Client Systems,product=NUC12WSHi5,serial={self.serial}",
            "-smbios", f"type=11,{self._strings}",
        ]  # fmt: skip
        for number, disk in enumerate(self.disks):
            drive = f"if=none,id=disk{number},format=raw,file=/run/disks/{number}/{disk.name}"
            command += [
                # Zeros become holes: a wipe costs this machine nothing, and reads back the same.
                "-drive", f"{drive},cache=writeback,discard=unmap,detect-zeroes=unmap",
                "-device", f"virtio-blk-pci,drive=disk{number},bootindex={number}",
            ]  # fmt: skip
        if self.tpm:
            command += [
                "-chardev", "socket,id=tpm,path=/run/vm/tpm.sock", "-tpmdev", "emulator,id=tpm,chardev=tpm",
                "-device", "tpm-crb,tpmdev=tpm",
            ]  # fmt: skip
        if self.clock:
            command += ["-rtc", f"base={self.clock}"]
        return command

    def start(self) -> None:
        """Power on; returns at once."""
        for name in ("shell", "qmp", "tpm.sock"):
            (self.folder / name).unlink(missing_ok=True)
        binds = {self.folder: "vm", **{disk.parent: f"disks/{number}" for number, disk in enumerate(self.disks)}}
        if self.tpm:
            (self.folder / "tpm").mkdir(exist_ok=True)
            swtpm = [
                "swtpm", "socket", "--tpm2", "--tpmstate", "dir=/run/vm/tpm",
                "--ctrl", "type=unixio,path=/run/vm/tpm.sock",
            ]  # fmt: skip
            self._tpm = Program("swtpm", _inside(self.built, swtpm, binds), log=self.folder / "swtpm.log")
            self._tpm.start()
            self._tpm.wait_ready((self.folder / "tpm.sock").exists, seconds=30, what="listening")
        with (self.folder / "console.log").open("wb"):
            pass
        command = _inside(self.built, self._command(), binds)
        if self.lan is not None:
            self.lan.plug(TAP)
            command = [*self.lan.enter, *command]
        self.program = Program("qemu", command, log=self.folder / "qemu.log")
        self.program.start()
        self.began = time.monotonic()
        self._link = socket.socket(socket.AF_UNIX)
        self.program.wait_ready(self._linked, seconds=30, what="there")

    def _linked(self) -> bool:
        """Whether the shell's port could be connected to. QEMU makes its file a moment before it listens there."""
        assert self._link is not None
        try:
            self._link.connect(str(self.folder / "shell"))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def boot(self, seconds: float = BOOT_SECONDS) -> None:
        """Power on, and wait until the shell answers."""
        self.start()
        self.wait_shell(seconds)

    def wait_shell(self, seconds: float = BOOT_SECONDS) -> None:
        """Until the shell in the machine answers; StartError with the console's tail otherwise."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.program is not None
            if not self.program.running:
                raise StartError(f"{self.serial}: went off\n{self.program.log_tail()}\n{self.console()[-4000:]}")
            with contextlib.suppress(TimeoutError, StartError, OSError):  # the latter two: it goes off just now
                if "ready" in self.run("echo ready", seconds=10, check=False):
                    return
        raise StartError(f"{self.serial}: no shell after {seconds:.0f} s\n{self.console()[-4000:]}")

    def run(self, script: str, *, seconds: float = 120, check: bool = True) -> str:
        """Runs a line of shell as root; returns its output (both streams). TimeoutError; RuntimeError when it fails."""
        assert self._link is not None
        self._count += 1
        mark = f"end-{self._count}"
        self._link.settimeout(0.5)
        coded = base64.b64encode(script.encode()).decode()
        # The terminal echoes what it is sent: the mark is put together only where it runs.
        line = f"stty -echo 2>/dev/null; echo {coded} | base64 -d > /run/test.sh; "
        line += f"printf 'begin-%s\\n' {self._count}; sh /run/test.sh 2>&1; printf '\\nend-%s %s\\n' {self._count} $?\n"
        for start in range(0, len(line), 512):  # a serial port's line is bounded
            self._link.sendall(line[start : start + 512].encode())
        heard = ""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                data = self._link.recv(65536)
                if not data:
                    raise StartError(f"{self.serial}: the machine is off")
                heard += data.decode(errors="replace")
            plain = heard.replace("\r", "")  # the terminal's
            found = re.search(rf"begin-{self._count}\n(.*)\n{mark} (\d+)\n", plain, re.DOTALL)
            if found:
                output = found[1]
                if check and found[2] != "0":
                    raise RuntimeError(f"{script} failed ({found[2]}):\n{output[-3000:]}")
                return output
        raise TimeoutError(f"{self.serial}: no answer to {script!r} after {seconds:.0f} s; heard {heard[-500:]!r}")

    @property
    def on_seconds(self) -> float:
        """Since power came, s."""
        return time.monotonic() - self.began

    def console(self) -> str:
        """What the first serial port has shown since the last start."""
        return (self.folder / "console.log").read_text(errors="replace")

    def wait_console(self, pattern: str, seconds: float = BOOT_SECONDS) -> re.Match[str]:
        """Until the console shows it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = re.search(pattern, self.console())
            if found:
                return found
            assert self.program is not None
            if not self.program.running:
                break
            time.sleep(0.1)
        raise StartError(f"{self.serial}: {pattern!r} is not on the console\n{self.console()[-4000:]}")

    def qmp(self, command: str, **arguments: object) -> object:
        """Asks QEMU itself."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(60)
            link.connect(str(self.folder / "qmp"))
            stream = link.makefile("rw")
            stream.readline()
            for name, more in (("qmp_capabilities", {}), (command, arguments)):
                stream.write(json.dumps({"execute": name, "arguments": more}) + "\n")
                stream.flush()
                while "event" in (answer := json.loads(stream.readline())):
                    pass
            return answer.get("return", answer)

    def power_off(self, seconds: float = 180) -> None:
        """A clean shutdown."""
        if self.program is not None and self.program.running:
            with contextlib.suppress(TimeoutError, StartError):
                self.run("systemctl poweroff --no-block", seconds=30, check=False)
            deadline = time.monotonic() + seconds
            while self.program.running and time.monotonic() < deadline:
                time.sleep(0.2)
        self.cut_power()

    def wait_off(self, seconds: float = BOOT_SECONDS) -> None:
        """Until the machine has gone off, or would have started again, by itself."""
        assert self.program is not None
        deadline = time.monotonic() + seconds
        while self.program.running:
            if time.monotonic() > deadline:
                raise StartError(f"{self.serial}: still on after {seconds:.0f} s\n{self.console()[-4000:]}")
            time.sleep(0.2)
        self.cut_power()

    def cut_power(self) -> None:
        """SIGKILL to the machine. What its disks were given is in this host's page cache, so it stays."""
        if self._link is not None:
            self._link.close()
            self._link = None
        for program in (self.program, self._tpm):
            if program is not None:
                program.kill()
        self.program = self._tpm = None


def _inside(built: Built, command: Sequence[str], binds: Mapping[Path, str]) -> list[str]:
    return chroot.entering(built.toolbox, command, binds)


def blank_disk(file: Path, gib: int = 8) -> Path:
    """A disk with nothing on it, sparse."""
    with file.open("wb") as stream:
        stream.truncate(gib * 2**30)
    return file


def stick(built: Built, file: Path) -> Path:
    """The image as it lies on a USB stick: a copy that may be written to."""
    subprocess.run(["cp", "--sparse=always", str(built.disk), str(file)], check=True)
    return file


def copy_onto(built: Built, medium: Path, files: Path) -> None:
    """All that lies in the folder `files` onto the esp of `medium`, as a person copies it. Raises BuildError."""
    names = [f"/run/files/{one.name}" for one in sorted(files.iterdir())]
    if names:
        at = f"/run/medium/{medium.name}@@{partitions(medium)['esp'].start}"
        binds = {medium.parent: "medium", files: "files"}
        chroot.inside(built.toolbox, "mcopy", "-s", "-i", at, *names, "::", binds=binds)
