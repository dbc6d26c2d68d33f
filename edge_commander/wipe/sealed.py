"""`ident` where it is LUKS2 sealed to the TPM: opened for as long as the wipe is judged. Runs systemd-cryptsetup."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.core.errors import Rejected
from edge_commander.wipe.luks import LOOK, read

NAME = "galley-judged"
"""Closed again before the targets are erased: a device that is in use is not."""
OPTIONS = "tpm2-device=auto,headless=1,tries=1,read-only"
SECONDS = 120.0
MAPPER = Path("/dev/mapper")


@contextmanager
def opened(device: Path, mapper: Path = MAPPER) -> Iterator[Path]:
    """The device with the file system: `device` itself, or what it holds encrypted. Raises Rejected where the TPM does
    not open it, or nothing of it can be read."""
    try:
        with device.open("rb") as file:
            sealed = read(file.read(LOOK), file.seek(0, 2)) is not None
    except OSError as error:  # a journal that is not there is another thing
        raise Rejected(f"it cannot be read: {error.strerror or error}", file=str(device)) from None
    if not sealed:
        yield device
        return
    _run("attach", NAME, str(device), "none", OPTIONS, file=device)
    try:
        yield mapper / NAME
    finally:
        _run("detach", NAME, file=device)


def _run(*arguments: str, file: Path) -> None:
    command = ["systemd-cryptsetup", *arguments]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    except OSError as error:
        raise Rejected(f"it is sealed, and nothing here opens it: {error.strerror or error}", file=str(file)) from None
    except subprocess.TimeoutExpired:
        raise Rejected(f"the TPM did not answer within {SECONDS:.0f} s", file=str(file)) from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise Rejected(f"it is sealed, and cannot be opened or closed: {lines[-1][:200]}", file=str(file))
