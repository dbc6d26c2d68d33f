"""What siblings of version 1 say to one another is understood for ever: leaf, request, sealed secrets.

The keys are those of RFC 7518 appendix C (Alice signs, Bob opens): they are public, and nothing else uses them.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from agents.contracts.codec import decode, encode
from agents.contracts.identity import Member
from agents.core.jose import SoftwareKey
from edge_commander.keys import FileDeviceKeys
from edge_commander.secrets.offer import Ask
from edge_commander.secrets.sealing import open_secrets
from edge_commander.siblings.verify import judge

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "v1" / "siblings.json").read_text())


def key(name: str) -> SoftwareKey:
    return SoftwareKey(GOLDEN["keys"][name])


def alice() -> Member:
    fields: dict[str, Any] = GOLDEN["alice"]
    return Member(node=fields["node"], name="alice", signing=key("alice").public)


def test_a_stored_leaf_is_its_members() -> None:
    leaf = base64.b64decode(GOLDEN["leaf"])
    peer = judge(leaf, [alice()], GOLDEN["made_ms"])
    assert (peer.node, peer.until_ms) == (alice().node, GOLDEN["made_ms"] + 24 * 3600 * 1000)


def test_a_stored_request_reads_and_writes_the_same() -> None:
    assert json.loads(encode(decode(json.dumps(GOLDEN["ask"]), Ask))) == GOLDEN["ask"]


def test_stored_secrets_open() -> None:
    keys = FileDeviceKeys(key("bob"), key("bob"))
    secrets = open_secrets(
        GOLDEN["sealed"], keys=keys, node=GOLDEN["bob"]["node"], site="store-01234", epoch=7, senders=[alice()]
    )
    assert (secrets.site, secrets.epoch, secrets.generation) == ("store-01234", 7, 1)
    assert secrets.token == GOLDEN["token"]
