"""Process 1 of a box: its mounts, then what systemd and the kubelet do there. When it is killed, all of the box ends.

`python -m tests.site_in_a_box.etcd_site.guest FOLDER ADDRESS`, in new namespaces for processes, mounts and network.
/etc and /var/lib are the box's disk (over this machine's), /run is memory. One process for each request to the
distribution's root half, as galley-distribution.socket has it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec

from agents.core.errors import GalleyError
from agents.io.config import load
from edge_commander.distribution.grants import write_access
from edge_commander.distribution.kubeadm import layout
from edge_commander.distribution.kubeadm.cluster import KubeadmCluster
from edge_commander.distribution.runner import carry_out
from edge_commander.distribution.wire import SETTLE, Ask, problem
from edge_commander.halves.answer import Answer, Family
from edge_commander.settings import CommanderSettings, DistributionSettings
from tests.site_in_a_box.etcd_site.api import NODES, EtcdKube, connect
from tests.site_in_a_box.etcd_site.kubeadm import ETCD_RUNS

CONFIG = "/etc/galley/galley.yaml"
AGAIN_SECONDS = 1.0
BEAT_SECONDS = 1.0
PID_FILE = Path("/run/commander.pid")


def mounts(folder: Path) -> None:
    """The box's own /run, /etc and /var/lib, and a `systemctl` that has nothing to do."""
    for part, target in (("etc", "/etc"), ("lib", "/var/lib")):
        (folder / f"{part}-work").mkdir(exist_ok=True)
        options = f"lowerdir={target},upperdir={folder}/{part},workdir={folder}/{part}-work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, target], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    subprocess.run(["mount", "--bind", "/bin/true", "/usr/bin/systemctl"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def spawn(command: list[str], log: Path) -> int:
    """A child with its output in a log; its process id."""
    child = os.fork()
    if child:
        return child
    signal.set_wakeup_fd(-1)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.execvp(command[0], command)


def answer(connection: socket.socket, settings: DistributionSettings) -> None:
    """One request of the commander's."""
    data = bytearray()
    while piece := connection.recv(65536):
        data += piece
    ask = msgspec.json.decode(bytes(data), type=Ask)
    if text := problem(ask):
        said = Answer(family=Family.REFUSED, text=text)
    elif ask.operation == SETTLE:  # there is no RBAC here, and Vessel is not
        assert ask.plan is not None
        try:
            said = Answer(family=Family.DONE, value=write_access(ask.plan, settings))
        except GalleyError as error:
            said = Answer(family=Family.RETRY, text=str(error))
    else:
        print(f"asked: {ask!r}", flush=True)
        said = carry_out(ask, settings, lambda: KubeadmCluster(settings.kubeadm, connect, say=_say))
    with contextlib.suppress(OSError):  # the commander may be gone: what was begun went on
        connection.sendall(msgspec.json.encode(said))


def beat() -> None:
    """The kubelet's word that the node lives, through its own etcd."""
    while True:
        time.sleep(BEAT_SECONDS)
        with contextlib.suppress(GalleyError, OSError, ValueError):
            name = json.loads(Path(layout.KUBERNETES, "kubelet.conf").read_bytes())["node"]
            api = EtcdKube(Path(layout.ADMIN))
            node = api.ask("GET", f"{NODES}/{name}")
            node["renewed"] = time.time()
            api.ask("PUT", f"{NODES}/{name}", node)


class Guest:
    """What runs in the box."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = load("edge_commander", CommanderSettings, Path(CONFIG)).own.distribution
        self.commander = self.etcd = 0
        self.manifest = ""
        self.again = {"commander": 0.0, "etcd": 0.0}

    def run(self) -> None:
        """For ever."""
        run = Path("/run/galley")
        run.mkdir(exist_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(run / "distribution.sock"))
        listener.listen(8)
        self._forked(beat)
        while True:
            if select.select([listener], [], [], 0.1)[0]:
                connection, _ = listener.accept()
                self._forked(functools.partial(answer, connection, self.settings))
                connection.close()
            self._reap()
            self._keep_commander()
            self._keep_etcd()

    def _forked(self, work: Callable[[], None]) -> None:
        if os.fork() == 0:
            status = 1
            try:
                work()
                status = 0
            finally:
                sys.stdout.flush()
                if status:
                    traceback.print_exc()
                os._exit(status)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                if ended == self.commander:
                    self.commander = 0
                    self.again["commander"] = time.monotonic() + AGAIN_SECONDS / 2
                elif ended == self.etcd:
                    self.etcd = 0
                    ETCD_RUNS.unlink(missing_ok=True)
                    self.again["etcd"] = time.monotonic() + AGAIN_SECONDS

    def _keep_commander(self) -> None:
        if self.commander or time.monotonic() < self.again["commander"]:
            return
        program = [sys.executable, "-m", "tests.site_in_a_box.etcd_site.commander", "--config", CONFIG]
        self.commander = spawn(program, self.folder / "commander.log")
        PID_FILE.write_text(str(self.commander))

    def _keep_etcd(self) -> None:
        try:
            wanted = Path(layout.manifest("etcd")).read_text()
        except OSError:
            wanted = ""
        if self.etcd and wanted != self.manifest:
            os.kill(self.etcd, signal.SIGTERM)
        elif not self.etcd and wanted and time.monotonic() >= self.again["etcd"]:
            ETCD_RUNS.touch()
            self.manifest = wanted
            command = json.loads(wanted)["command"]
            self.etcd = spawn(
                [f"{self.settings.kubeadm.programs}/current/etcd", *command[1:]], self.folder / "etcd.log"
            )


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    """Waits for its network, then keeps the box."""
    folder, address = Path(sys.argv[1]), sys.argv[2]
    mounts(folder)
    while not _has(address):
        time.sleep(0.05)
    Guest(folder).run()


def _has(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


if __name__ == "__main__":
    main()
