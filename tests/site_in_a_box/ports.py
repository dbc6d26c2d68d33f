"""Free TCP ports on loopback, reserved so that two harnesses at once never take the same one.

Ports lie below the kernel's ephemeral range, so no outgoing connection can take one between the moment
it is chosen and the moment its server listens. A reservation is a locked file, held by this process
until it ends; a server may stop and start again on its port.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_LOWEST = 15000
_held: dict[Path, int] = {}


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port on `host` that nothing listens on and no other harness has reserved."""
    low, high = _range()
    folder = Path(tempfile.gettempdir()) / f"galley-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for _ in range(2000):
        port = random.randrange(low, high)
        if _reserve(folder / str(port), host, port):
            return port
    raise OSError(f"no free TCP port on {host} between {low} and {high}")


def _range() -> tuple[int, int]:
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(ephemeral.read_text().split()[0]) if ephemeral.exists() else 32768
    return (_LOWEST, first) if first - _LOWEST >= 1000 else (_LOWEST, 32768)


def _reserve(file: Path, host: str, port: int) -> bool:
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_ino != file.stat().st_ino:  # its last holder removed it after we opened it
            raise FileNotFoundError(file)
        with socket.socket() as probe:
            probe.bind((host, port))
    except OSError:
        os.close(lock)
        return False
    _held[file] = lock
    return True


@atexit.register
def _release() -> None:
    for file, lock in _held.items():
        file.unlink(missing_ok=True)
        os.close(lock)
    _held.clear()
