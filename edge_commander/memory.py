"""What the commander remembers on `ident`: state, ledger, site document, last good time. Touches those files.

One process at a time: a lock on the directory is held until the process ends, however it ends.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from agents.contracts.identity import SiteDocument
from agents.core.errors import Rejected, Retryable
from agents.io.lock import Lock
from agents.io.state import StateFile
from edge_commander.ledger import Ledger
from edge_commander.reasons import NodeRecord

STATE_NAME = "state.json"


class LastGoodTime(msgspec.Struct, frozen=True):
    """`ms`: Unix ms, by the endpoint's word."""

    ms: int


class Memory:
    """Every durable value but the keys. Attributes are what is on disk; `save_*` put it there first.

    `damaged()` names files that were put aside, for a report.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._record = StateFile(directory / STATE_NAME, NodeRecord)
        self._ledger = StateFile(directory / "commands.json", Ledger)
        self._site = StateFile(directory / "site.json", SiteDocument)
        self._time = StateFile(directory / "clock.json", LastGoodTime)
        self.record = self._record.load() or NodeRecord()
        self.ledger = self._ledger.load() or Ledger()
        self.site = self._site.load()
        self.last_good = (self._time.load() or LastGoodTime(0)).ms

    def save_record(self, record: NodeRecord) -> None:
        """Raises Retryable; the old one then stands, on disk and here."""
        if record != self.record:
            self._record.save(record)
            self.record = record

    def save_ledger(self, ledger: Ledger) -> None:
        """Raises Retryable; the old one then stands."""
        if ledger != self.ledger:
            self._ledger.save(ledger)
            self.ledger = ledger

    def save_site(self, site: SiteDocument) -> None:
        """Raises Retryable; the old one then stands."""
        if site != self.site:
            self._site.save(site)
            self.site = site

    def save_time(self, ms: int) -> None:
        """Raises Retryable; the old one then stands."""
        self._time.save(LastGoodTime(ms))
        self.last_good = ms

    def damaged(self) -> list[str]:
        """Names of files put aside as corrupt, in order."""
        return sorted(path.name for path in self.directory.glob("*.corrupt-*"))


def prepare(directory: Path) -> Lock:
    """Makes the directory (0700) and locks it.

    Raises Retryable when it cannot be made, Rejected when another process has it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        lock = Lock(directory / "lock")
        if not lock.take():
            raise Rejected("another edge-commander works here", file=str(directory))
    except OSError as error:
        raise Retryable(f"{directory}: cannot be used: {error.strerror}") from None
    return lock


def read_record(directory: Path) -> NodeRecord | None:
    """The state as a bystander sees it, nothing is put aside or locked. None when there is none that can be read."""
    return StateFile(directory / STATE_NAME, NodeRecord).peek()
