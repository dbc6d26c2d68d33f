"""The operator's own machine: the keys, the first operators' document, and `galley` with its profile.

What is signed is signed here, by the command that operators have; the endpoint is only told.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.site_in_a_box.endpoint import Endpoint


class OperatorsDesk:
    """Of the endpoint's first operator, whose command key (Ed25519) signs."""

    def __init__(self, folder: Path, endpoint: Endpoint) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.key = endpoint.command_key_file
        self.document = folder / "operators-1.json"
        self._profile = folder / "profile.yaml"

    def open(self) -> None:
        """Once the endpoint serves: the profile, and the first document, which the endpoint is told too."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.endpoint.write_profile(self._profile)
        self.galley("operators", "init", "--key", self.key, "--name", "demo", "--out", self.document)
        self.galley("operators", "push", self.document)

    def galley(self, *arguments: object, status: int = 0) -> Any:
        """What `galley ... --output json` answers; RuntimeError where it ends in another way than `status`."""
        command = [sys.executable, "-m", "cloud_endpoint.cli", "--profile", self._profile, *map(str, arguments)]
        done = subprocess.run(
            [*command, "--output", "json"], capture_output=True, text=True, timeout=120, check=False,
            env=self.endpoint.program.env,
        )  # fmt: skip
        if done.returncode != status:
            raise RuntimeError(f"galley {arguments[0]} {arguments[1]}: {done.returncode}: {done.stderr}{done.stdout}")
        return json.loads(done.stdout)

    def ship(self, hardware_id: str, site: str, name: str, address: str, role: str = "server") -> str:
        """Puts a device on the shipping list with a signed entry; its one-time code."""
        named = ("--site", site, "--name", name, "--role", role, *(("--address", address) if address else ()))
        shipped = self.galley("device", "ship", hardware_id, *named, "--key", self.key)
        return str(shipped["code"])

    def revoke(self, device: str, site: str) -> None:
        """Ends a device, with a signed withdrawal."""
        self.galley("device", "revoke", device, "--site", site, "--key", self.key)
