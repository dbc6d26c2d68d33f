"""The page's settings: `cloud_endpoint.page`. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

from agents.core.settings import Positive


class PageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`notice`: a sentence shown above every view, such as who plays the pods.

    `frame_seconds`: the shortest time between two events to one browser; `keepalive_seconds`: the longest.
    `clients`: open event streams at most. A session ends `idle_minutes` after its last request, and `session_hours`
    after the login in any case.
    """

    notice: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    frame_seconds: Annotated[float, msgspec.Meta(ge=0.05, le=10)] = 0.25
    keepalive_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=60)] = 15.0
    clients: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64
    idle_minutes: Positive = 60.0
    session_hours: Positive = 12.0
