"""The targets' devices, as the configuration maps them. Touches block devices, runs mkfs.ext4."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.contracts.command import Command
from edge_commander.settings import WipeSettings
from edge_commander.wipe import ext4
from edge_commander.wipe.disk import Disk
from edge_commander.wipe.record import Target


@dataclass(frozen=True)
class Partitions:
    """See engine.Disks."""

    settings: WipeSettings

    def path(self, target: Target) -> Path:
        """Where it is."""
        return Path(getattr(self.settings, target.value))

    @property
    def blank(self) -> bool:
        """Whether what is erased is left blank now, as early boot makes it anew."""
        return self.settings.blank_if is not None and Path(self.settings.blank_if).exists()

    def open(self, target: Target) -> Disk:
        """Exclusively; raises OSError, also while it is mounted."""
        return Disk(self.path(target))

    def format(self, target: Target, command: Command) -> None:
        """See engine.Disks."""
        with self.open(target):
            pass  # mkfs is told not to ask, so it is asked here whether anybody uses the device
        ext4.make(self.path(target).resolve(strict=True), target, command.id, command.issued)
