"""A TPM 2.0 by swtpm as a process: a state of its own, on Unix sockets in a folder with a short name.

`with Swtpm() as tpm:`, then `tpm.tcti`. `restart` is a power cycle; `clear` what an owner may do to it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

READY_SECONDS = 10.0


class Swtpm:
    """One TPM. Its state outlives `stop`, not `close`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tpm-"))
        self.socket = self.folder / "s"
        self.tcti = f"swtpm:path={self.socket}"
        self._process: subprocess.Popen[bytes] | None = None
        (self.folder / "state").mkdir()

    def __enter__(self) -> Swtpm:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Starts it and waits until it answers."""
        command = [
            "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder / 'state'}",
            "--server", f"type=unixio,path={self.socket}", "--ctrl", f"type=unixio,path={self.socket}.ctrl",
            "--flags", "not-need-init,startup-clear",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_SECONDS
        while self.tool("tpm2_getcap", "properties-fixed").returncode != 0:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"swtpm does not answer: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def tool(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs one of tpm2-tools against it."""
        environment = {**os.environ, "TPM2TOOLS_TCTI": self.tcti, "TSS2_LOG": "all+NONE"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)

    def clear(self) -> None:
        """TPM2_Clear: the owner's seed is another from now on."""
        for kind in ("-t", "-l", "-s"):
            self.tool("tpm2_flushcontext", kind)
        done = self.tool("tpm2_clear")
        assert done.returncode == 0, done.stderr

    def stop(self) -> None:
        """Ends the process, as if its machine had lost its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for name in (self.socket, self.socket.with_name("s.ctrl")):
            name.unlink(missing_ok=True)

    def restart(self) -> None:
        """A power cycle."""
        self.stop()
        self.start()

    def pause(self, paused: bool) -> None:
        """A TPM that does not answer, or does again."""
        assert self._process is not None
        self._process.send_signal(19 if paused else 18)

    def close(self) -> None:
        """Ends it and forgets its state."""
        self.stop()
        shutil.rmtree(self.folder)
