"""What this node believes, read from `ident` without changing a byte of it: for the judging of a wipe in early boot."""

from __future__ import annotations

from pathlib import Path

from agents.core.errors import Rejected
from agents.core.operators import Operators
from agents.io.state import StateFile
from edge_commander.memory import STATE_NAME
from edge_commander.operators import basis_of
from edge_commander.reasons import NodeRecord
from edge_commander.settings import CommanderSettings
from edge_commander.trust.keeper import TRUST_NAME
from edge_commander.trust.record import TrustRecord, believe
from edge_commander.wipe.warrant import NoOperators, Warrant


def warrant(own: CommanderSettings) -> Warrant:
    """Who this node is, and whose signature counts here. Raises Rejected where the disk does not say, NoOperators,
    ConfigError."""
    folder = Path(own.keys_dir)
    record = StateFile(folder / STATE_NAME, NodeRecord).peek()
    if record is None or record.node is None or record.site is None:
        raise Rejected("does not say which node of which site this is", file=str(folder / STATE_NAME))
    known = operators(own)
    if known is None:
        raise NoOperators("no operators are known: edge_commander.operators_file is not set")
    return Warrant(record.site, record.node, known.signing, known.threshold)


def operators(own: CommanderSettings) -> Operators | None:
    """Whose signatures count here; None where none are known. Raises ConfigError."""
    trust = StateFile(Path(own.keys_dir) / TRUST_NAME, TrustRecord).peek() or TrustRecord()
    return believe(basis_of(own), trust).operators
