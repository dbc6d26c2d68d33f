"""A value that meets no contract: people read what is meant, never a pattern."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agents.contracts.codec import ContractError, decode, without_root
from cloud_endpoint.requests import CommandAsk, EpochPut, OperatorAdd, Ship, SitePut, SiteQuery

SCOPES = (
    "heartbeat:write, synthetic:write, deploy:report, command:read, fleet:read, fleet:deploy, remedy:execute, admin"
)


@pytest.mark.parametrize(
    ("type_", "body", "words"),
    [
        (OperatorAdd, {"name": "Bad Name", "key": {}, "scopes": ["admin"]},
         "must be a name of lower-case letters, digits, dots and hyphens, at most 63, such as nuc-1 - at `name`"),
        (OperatorAdd, {"name": "a", "key": {}, "scopes": ["foo"]},
         f"must be one of {SCOPES}, not 'foo' - at `scopes[0]`"),
        (SitePut, {"election": "me"}, "must be one of cloud, offline, not 'me' - at `election`"),
        (EpochPut, {"to": 2, "election": "me"}, "must be one of cloud, offline, not 'me' - at `election`"),
        (CommandAsk, {"verb": "x"}, "must be one of sync, snapshot, collect-diagnostics, reboot, wipe, retire, rejoin,"
         " upgrade, rotate, not 'x' - at `verb`"),
        (SiteQuery, {"site": "A B"},
         "must be a site's id, such as store-01234 (lower-case letters, digits and hyphens) - at `site`"),
        (Ship, {"hardware_id": "x", "site": "s", "name": "n", "ek_hash": "x"},
         "must be a SHA-256 in 64 hexadecimal digits (0-9, a-f) - at `ek_hash`"),
        (Ship, {"hardware_id": "x", "site": "s"}, "Object missing required field `name`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_words(type_: type[Any], body: Any, words: str) -> None:
    with pytest.raises(ContractError) as refused:
        decode(msgspec.json.encode(body), type_)
    assert without_root(str(refused.value)) == words
