"""Kernel settings that kubelet and containerd change for the whole machine: noted before, put back afterwards."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

GLOBAL = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""What kubelet's container manager sets (k8s.io/kubernetes pkg/util/sysctl); none of these is kept by namespace."""


class KernelSettings:
    """As a context: leaves the settings as they were."""

    def __init__(self) -> None:
        self.before = self.now()

    @staticmethod
    def now() -> dict[str, str]:
        """The settings that this kernel has, with their values."""
        places = {name: Path("/proc/sys", name) for name in GLOBAL}
        return {name: place.read_text().strip() for name, place in places.items() if place.exists()}

    def restore(self) -> None:
        """Puts back what differs."""
        for name, value in self.now().items():
            if value != self.before[name]:
                Path("/proc/sys", name).write_text(self.before[name])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()
