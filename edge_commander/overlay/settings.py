"""The section `edge_commander.overlay` of galley.yaml. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

from edge_commander.overlay.allowed import WELL_FORMED
from edge_commander.overlay.places import KEEP, RUN, UPPER

Pattern = Annotated[
    str, msgspec.Meta(pattern=WELL_FORMED, description="must be a path relative to /etc, such as chrony/ or apt/*.conf")
]
Folder = Annotated[str, msgspec.Meta(pattern=r"^/[^\x00]{0,255}\Z", description="must be an absolute path")]


class OverlaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`overlay:`. `allow`: paths of /etc that may differ from the image, besides those built in (docs/overlay.md); `*`
    stands for any characters but `/`, a `/` at the end for all below too. `upper`, `keep`, `run`: where early boot
    has the upper layer, the backups, and the image's files. `look_seconds`: how often /etc is compared; 0: never."""

    allow: Annotated[list[Pattern], msgspec.Meta(max_length=200)] = []
    upper: Folder = UPPER
    keep: Folder = KEEP
    run: Folder = RUN
    look_seconds: Annotated[float, msgspec.Meta(ge=0)] = 3600.0
