"""The section `edge_commander.diagnostics` of galley.yaml. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

from agents.core.settings import Positive

Folder = Annotated[str, msgspec.Meta(pattern=r"^/[^\x00-\x1f ]+\Z", description="must be an absolute path")]
Bytes = Annotated[int, msgspec.Meta(ge=1024 * 1024, le=64 * 1024 * 1024)]
Unit = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9][-_.@:*A-Za-z0-9]{0,127}\Z", description="must be a unit's name")
]


class DiagnosticsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`diagnostics:`. `folder`: on the partition that a wipe keeps; root writes there, Edge Commander reads.

    `keep`, `keep_bytes`: at most so many bundles and bytes of them stay; the oldest go. `bundle_bytes`: of one bundle
    as it is stored. `collect_seconds`: for all of it; what is not collected by then is noted in the bundle.
    `hours`: how far back logs are read. `units`, `files`: more systemd units whose journal, and more files whose last
    2 MiB go in. `upload`: whether bundles that were asked for go to the endpoint; `upload_rate`: bytes a second, so
    that they never keep the line from beats.
    """

    folder: Folder = "/var/lib/galley-keep/diagnostics"
    keep: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    keep_bytes: Annotated[int, msgspec.Meta(ge=1024 * 1024)] = 128 * 1024 * 1024
    bundle_bytes: Bytes = 32 * 1024 * 1024
    collect_seconds: Annotated[float, msgspec.Meta(gt=0, le=240)] = 120.0
    hours: Annotated[float, msgspec.Meta(gt=0, le=8784)] = 48.0
    units: list[Unit] = []
    files: list[Folder] = []
    upload: bool = True
    upload_rate: Annotated[int, msgspec.Meta(ge=1024)] = 64 * 1024
    upload_seconds: Positive = 30.0
