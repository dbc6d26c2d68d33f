"""sd_notify(3): tells systemd of readiness, watchdog and status by one datagram each; touches NOTIFY_SOCKET alone."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class NullNotifier:
    """Where nobody listens."""

    def ready(self) -> None:
        """Does nothing."""

    def watchdog(self) -> None:
        """Does nothing."""

    def status(self, text: str) -> None:
        """Does nothing."""

    def stopping(self) -> None:
        """Does nothing."""


class SystemdNotifier:
    """Sends to the socket at `address` (`@name` for an abstract one). A full or vanished socket is no error."""

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._status = ""

    def _send(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode(errors="replace"), self._address)

    def ready(self) -> None:
        """Sends `READY=1`."""
        self._send("READY=1")

    def watchdog(self) -> None:
        """Sends `WATCHDOG=1`."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Sends `STATUS=`, one line, when it changed."""
        line = " ".join(text.split())[:500]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def stopping(self) -> None:
        """Sends `STOPPING=1`."""
        self._send("STOPPING=1")


def notifier(environ: Mapping[str, str] = os.environ) -> SystemdNotifier | NullNotifier:
    """The notifier of this process. Takes NOTIFY_SOCKET once; children are to be started without it."""
    address = environ.get("NOTIFY_SOCKET", "")
    return SystemdNotifier(address) if address[:1] in ("/", "@") else NullNotifier()


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """Seconds within which systemd expects a sign of life; None: it expects none (sd_watchdog_enabled(3))."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdigit() and int(text) > 0 else None
