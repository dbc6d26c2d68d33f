"""Files that are kept for k3s: path, content and mode, as values; and our own paths among them. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from edge_commander.distribution.k3s import reference

GATE = f"/etc/systemd/system/{reference.name('unit')}.d/50-galley.conf"
"""The drop-in that lets k3s start on an etcd that is there, or with MAY_FORM."""
MAY_FORM = "/run/galley-k3s-may-form"
"""There while a cluster is formed or joined; gone with a reboot."""
TOKEN = f"{reference.path('etc')}/galley-token"

GATE_TEXT = f"""# Made by Edge Commander. Without its etcd directory k3s would begin a new cluster without a word.
[Unit]
AssertPathIsDirectory=|{reference.path("wal")}
AssertPathExists=|{MAY_FORM}
"""


@dataclass(frozen=True)
class File:
    """One file; its content may be secret and is never shown."""

    path: str
    content: bytes
    mode: int = 0o600

    def __repr__(self) -> str:
        return f"File({self.path!r}, {len(self.content)} bytes, {self.mode:o})"

    @property
    def mark(self) -> str:
        """`mode:sha256`, as in Facts."""
        return mark(self.content, self.mode)


def mark(content: bytes, mode: int) -> str:
    """How a file's state is told without its content."""
    return f"{mode:o}:{hashlib.sha256(content).hexdigest()}"


def gate() -> File:
    """systemd checks asserts at every start of the unit, automatic restarts too (systemd.unit(5))."""
    return File(GATE, GATE_TEXT.encode(), 0o644)
