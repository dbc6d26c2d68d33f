"""A restaurant's line to the cloud, which can be cut: an endpoint on this machine's loopback is served in a LAN."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.site_in_a_box.lan import NETWORK, Lan
from tests.site_in_a_box.process import Program

GATEWAY = f"{NETWORK}.1"
PORT = 8443
ROOT = Path(__file__).resolve().parents[2]


class LanLine:
    """From GATEWAY:`at` in the LAN to the loopback's `port`. `folder`, of its own, holds what its halves say."""

    def __init__(self, folder: Path, lan: Lan, port: int, at: int = PORT) -> None:
        self._folder, self._lan = folder, lan
        pipe, self._relay = folder / "line.sock", [sys.executable, "-m", "tests.site_in_a_box.relay"]
        self._in = [f"tcp:{GATEWAY}:{at}", f"unix:{pipe}"]
        out = [*self._relay, f"unix:{pipe}", f"tcp:127.0.0.1:{port}"]
        self._halves = [Program("line out", out, log=folder / "out.log", cwd=ROOT)]

    def up(self) -> None:
        """Once the LAN is up."""
        self._halves[0].start()
        self.mend()

    def mend(self) -> None:
        """It works (again)."""
        command = [*self._lan.enter, *self._relay, *self._in]
        self._halves[1:] = [Program("line in", command, log=self._folder / "in.log", cwd=ROOT)]
        self._halves[1].start()

    def cut(self) -> None:
        """Nothing reaches the cloud any more."""
        self._halves[1].stop(grace=1)

    def down(self) -> None:
        """Takes it away."""
        for program in self._halves:
            if program.running:
                program.stop(grace=1)
