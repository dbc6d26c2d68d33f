"""A diagnostics bundle on its way to the endpoint, in pieces: `POST /v1/diagnostics`, then `PUT`s by offset. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

from agents.contracts.codec import Struct

MAX_PIECE = 256 * 1024
"""Bytes of one piece."""
MAX_BUNDLE = 64 * 1024 * 1024
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class BundleOpen(Struct, frozen=True, kw_only=True):
    """What is to come: the bundle of the command `command_id`, of `size` bytes. Asked again it changes nothing; with
    another size or digest what came of the older one is forgotten."""

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    command_id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    size: Annotated[int, msgspec.Meta(ge=1, le=MAX_BUNDLE)]
    sha256: Sha256


class BundleState(Struct, frozen=True, kw_only=True):
    """How far it came. `offset`: where the next piece begins. `whole`: all of it is there, and is what was said."""

    v: int = 1
    id: int
    size: int
    offset: int
    whole: bool = False
