"""The `synthetic_client:` section of galley.yaml. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

from agents.core.settings import Listener


class SyntheticSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`scenario`: path of the scenario file. `identity_socket`: default `<run_dir>/identity.sock`."""

    scenario: Annotated[str, msgspec.Meta(min_length=1)]
    identity_socket: str = ""
    health: Listener = Listener(port=9403)
    outbox_rows: Annotated[int, msgspec.Meta(ge=100)] = 10_000
    outbox_bytes: Annotated[int, msgspec.Meta(ge=1_000_000)] = 32_000_000
