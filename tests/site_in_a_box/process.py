"""Programs that tests and demo run: log to a file, own process group, none outlives its starter.

Starting and stopping is synchronous, so that it works in every event loop and in none; from a loop call
it by `asyncio.to_thread`. Every start happens on one thread that lives as long as this process, because
the kernel kills a child with PR_SET_PDEATHSIG when the thread that started it ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
_LAUNCHER = Path(__file__).with_name("die_with_parent.py")
POLL_SECONDS = 0.02


class StartError(Exception):
    """A program ended, or did not become ready in time; the text holds the tail of its log."""


class Program:
    """One program with its arguments, which can be started, stopped, killed and started again."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log = log
        self.env = None if env is None else dict(env)
        self.cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.name} {'pid ' + str(self.pid) if self.running else 'not running'}>"

    @property
    def pid(self) -> int:
        """The process id; RuntimeError when it was never started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit status (negative: the signal), None while it runs or before it started."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Starts it; its output is appended to the log. RuntimeError when it runs already."""
        if self.running:
            raise RuntimeError(f"{self.name} runs already")
        self._process = _spawner.submit(self._spawn).result(timeout=30)

    def _spawn(self) -> subprocess.Popen[bytes]:
        launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [*launcher, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,  # Ctrl-C at the terminal reaches the starter alone, which stops us in order
            )

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to its whole process group; nothing happens when it has ended."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and waits until it is gone."""
        self.signal(signal.SIGKILL)
        self._wait(10)

    def stop(self, *, grace: float = 5.0) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds; returns when it is gone."""
        self.signal(signal.SIGTERM)
        if not self._wait(grace):
            self.kill()

    def _wait(self, seconds: float) -> bool:
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait_ready(self, probe: Callable[[], bool], *, seconds: float, what: str = "ready") -> None:
        """Polls `probe` until it is true. StartError when the program ends first or time is up."""
        deadline = time.monotonic() + seconds
        while not probe():
            if not self.running:
                raise StartError(f"{self.name} ended with status {self.returncode}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise StartError(f"{self.name}: not {what} within {seconds:.0f} s\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its log, with the log's path above them."""
        try:
            text = self.log.read_text(errors="replace").splitlines()[-lines:]
        except OSError as error:
            text = [str(error)]
        return "\n".join([f"{self.log}:", *(f"  {line}" for line in text)])

    def pss_bytes(self) -> int:
        """Proportional set size in bytes, 0 when it does not run."""
        if self.running:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
                for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        return int(line.split()[1]) * 1024
        return 0


def stop_all(programs: Iterable[Program], *, grace: float = 5.0) -> None:
    """Asks all to end at once, then waits for each; those left after `grace` seconds are killed."""
    listed = list(programs)
    for program in listed:
        program.signal(signal.SIGTERM)
    deadline = time.monotonic() + grace
    for program in listed:
        program.stop(grace=max(0.0, deadline - time.monotonic()))
