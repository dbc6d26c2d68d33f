"""The `heartbeat:` section of galley.yaml. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from agents.core.settings import Listener, Positive

Fraction = Annotated[float, msgspec.Meta(gt=0, le=1)]
Interval = Annotated[float, msgspec.Meta(ge=0.1, le=3600)]


class Mode(StrEnum):
    """Which of the two forms this process is."""

    UNIT = "unit"
    POD = "pod"


class Pod(StrEnum):
    """Whether a DaemonSet is meant to beat in the unit's place."""

    EXPECTED = "expected"
    NONE = "none"


class HeartbeatSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"own_port": "health"}
):
    """Times in s. Empty addresses and paths turn the look at that thing off: its bit is then `unknown`.

    `pod: expected`: a DaemonSet is to beat; where the unit beats in its place, its health component `pod` is not ok.
    `disks`: paths whose file systems are watched, besides that of the state directory.
    `identity_socket`: default `<run_dir>/identity.sock`. `local_api`: URL of the site's API (`/readyz` is asked).
    `kubelet`: URL of its healthz port. `runtime_socket`: the container runtime's.
    `os_release`: where the host's own file is seen (a pod has it mounted elsewhere).
    `probe_timeout`: how long one look may take; what does not answer is bad.
    `own_port`: the section's `health`, under another name here: the one on duty has the port, which heartbeat
    sees to itself.
    """

    interval_seconds: Interval = 15.0
    facts_seconds: Positive = 900.0
    facts_check_seconds: Positive = 60.0
    mode: Mode = Mode.UNIT
    pod: Pod = Pod.NONE
    own_port: Listener = Listener(port=9402)
    disks: Annotated[list[str], msgspec.Meta(max_length=16)] = msgspec.field(default_factory=lambda: ["/"])
    identity_socket: str = ""
    local_api: str = ""
    kubelet: str = ""
    runtime_socket: str = ""
    os_release: str = "/etc/os-release"
    probe_timeout: Positive = 2.0
    outbox_rows: Annotated[int, msgspec.Meta(ge=100)] = 50_000
    outbox_bytes: Annotated[int, msgspec.Meta(ge=1_000_000)] = 32_000_000

    @property
    def health(self) -> Listener:
        """None for the supervisor to open: see `own_port`."""
        return Listener(port=0)
