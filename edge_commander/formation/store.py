"""Touches `formation.json`: a node's part in the cluster, on `ident`, with a copy on `var` beside the cluster's data.

The copy is for a file on ident that was damaged: a member that forgot what it is must not pass for a fresh box, whose
ghost the others would take out. It also tells a disk that was wiped from one that lost a single file.
"""

from __future__ import annotations

from pathlib import Path

from agents.contracts.siblings import Stage
from agents.io.state import StateFile
from edge_commander.formation.record import Record, is_kept, loaded
from edge_commander.secrets.store import NAME as SECRETS

NAME = "formation.json"


class RecordFile:
    """`record` is what is on disk. Raises Retryable when a disk does not answer."""

    def __init__(self, ident: Path, var: Path) -> None:
        self._ident = StateFile(ident / NAME, Record)
        self._var = StateFile(var / NAME, Record)
        found, copy = self._ident.load(), self._var.load()
        if found is None and copy is not None and copy.stage is not Stage.NONE:
            found = copy
            self._ident.save(copy)
        damaged = any(var.glob(f"{NAME}.corrupt-*")) or (var / SECRETS).exists()
        self.record = loaded(found or Record(), copy, damaged=damaged)
        self._copy = copy

    def save(self, record: Record) -> None:
        """On both when it returns; ident first, as it is the one that counts. Raises Retryable."""
        if record != self.record:
            self._ident.save(record)
            self.record = record
            self._var.save(record)
            self._copy = record

    @property
    def kept(self) -> bool:
        """Whether `var` was not wiped since this epoch's cluster was begun on it."""
        return is_kept(self.record, self._copy)
