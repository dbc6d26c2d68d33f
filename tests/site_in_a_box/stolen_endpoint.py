"""The endpoint's own program in a thief's hands: with its keys, its store, and what it is told to say.

Run as a module in the place of `cloud_endpoint`. `TEST_THIEF_PLAN` names a file: one word of LIES, or nothing for the
truth. It is read at each answer. `plant` writes commands into the store of an endpoint that runs, past all its checks.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from agents.contracts.ids import node_id
from agents.contracts.trust import Roster, RosterMember
from agents.core.jose import SoftwareKey
from cloud_endpoint.store import trust

NEW, ELSEWHERE = SoftwareKey.generate(), SoftwareKey.generate()
AHEAD = 1000


def _ahead(roster: Roster, **changed: object) -> Roster:
    return msgspec.structs.replace(roster, generation=roster.generation + AHEAD, **changed)


def _other_key(roster: Roster) -> Roster:
    """A sibling's key: of the last member by name, which in the tests is never the node that asks."""
    last = max(roster.members, key=lambda one: one.name)
    changed = [msgspec.structs.replace(one, signing=NEW.public) if one is last else one for one in roster.members]
    return _ahead(roster, members=changed)


def _one_more(roster: Roster) -> Roster:
    stranger = RosterMember(
        node=node_id("thief"), name="thief", signing=NEW.public, sealing=ELSEWHERE.public, entry=roster.members[0].entry
    )
    return _ahead(roster, members=[*roster.members, stranger])


LIES: dict[str, Callable[[Roster], Roster]] = {
    "keys-changed": _other_key,
    "entry-node": _one_more,
    "generation": lambda roster: msgspec.structs.replace(roster, generation=1),
    "generation-reused": lambda roster: msgspec.structs.replace(roster, members=roster.members[:1]),
    "epoch-authorisation": lambda roster: _ahead(roster, epoch=2),
}
"""By the code with which a node refuses it."""


def plant(store: Path, node: str, site: str, rows: Sequence[tuple[int, str, str, bytes]]) -> None:
    """Commands for the node, as if sent, all at once: sequence and id of the row, verb, SignedCommand as JSON."""
    now = time.time_ns() // 1_000_000
    values = [
        (node, sequence, site, one, verb, signed.decode(), now, now + 3_600_000) for sequence, one, verb, signed in rows
    ]
    with contextlib.closing(sqlite3.connect(store, timeout=30)) as connection, connection:
        connection.executemany(
            "INSERT INTO commands (node, sequence, site, command_id, verb, signed, by_whom, created_ms, expires_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, 'op:thief', ?, ?)",
            values,
        )


def main() -> None:
    from cloud_endpoint.__main__ import main as endpoint

    sign = trust.sign_roster
    plan = Path(os.environ["TEST_THIEF_PLAN"])

    def lie(roster: Roster, signer: SoftwareKey) -> object:
        word = plan.read_text().strip() if plan.exists() else ""
        if word == "signature":
            return sign(_ahead(roster), ELSEWHERE)
        return sign(LIES[word](roster) if word else roster, signer)

    trust.sign_roster = lie  # type: ignore[assignment]
    sys.exit(endpoint())


if __name__ == "__main__":
    main()
