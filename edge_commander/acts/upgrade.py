"""`upgrade`: the operating system's image of this machine. Touches nothing but what the port looks at.

An image is written beside the one that runs, into the second root; a machine without one cannot be upgraded so. The
version of Kubernetes is another thing, and an order to the whole site.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from agents.contracts.command import Command
from edge_commander.verbs import Outcome

SECOND_ROOT = "/dev/disk/by-partlabel/root-b"
KUBERNETES = "The version of Kubernetes is an order to the whole site: galley site upgrade"


class OsImage(Protocol):
    """Puts another image of the operating system onto this machine."""

    async def upgrade(self, command: Command) -> Outcome | None:
        """One step of it, as a Handler's `execute`; only a machine that runs from one of two roots has it."""


class Upgrades:
    """`image` None: nothing on this node writes images. `second_root`: its block device, by the partition's label."""

    def __init__(self, image: OsImage | None = None, second_root: Path = Path(SECOND_ROOT)) -> None:
        self._image = image
        self._second_root = second_root

    async def execute(self, command: Command) -> Outcome | None:
        """See Handler."""
        if self._image is not None:
            return await self._image.upgrade(command)
        if not self._second_root.exists():
            what = f"this machine has no second root (no partition {self._second_root.name}) to write an image to"
        else:
            what = "nothing on this node writes images"
        return Outcome("refused", f"the operating system cannot be upgraded by command: {what}. {KUBERNETES}")
