"""The section `edge_commander.prepull` of galley.yaml. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

from agents.core.settings import Positive

Folder = Annotated[str, msgspec.Meta(pattern=r"^/[^\s]+\Z", description="must be an absolute path without spaces")]


class PrepullSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`prepull:`, where the cluster is formed here: images that Vessel names are pulled before pods need them.

    `bytes_per_second`: the most that is taken of the line, all layers together. `free_percent`: the share of
    containerd's file system that stays free; it must be above kubelet's own bounds (it collects images past 85 % used,
    evicts pods below 15 % free). `look_seconds`: how often it is looked whether Vessel named others. `pull_seconds`:
    how long one try at an image lasts; the next goes on where it ended. `containerd_dir`, `hosts_dir`: None: where the
    distribution has them.
    """

    enabled: bool = True
    bytes_per_second: Annotated[int, msgspec.Meta(ge=16384)] = 2 * 1024 * 1024
    free_percent: Annotated[float, msgspec.Meta(ge=0, le=95)] = 25.0
    look_seconds: Positive = 10.0
    pull_seconds: Positive = 600.0
    containerd_dir: Folder | None = None
    hosts_dir: Folder | None = None
