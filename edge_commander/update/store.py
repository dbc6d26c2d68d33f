"""The record of the update, on `ident`, and the folder of what was fetched, on `var`. Touches both."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from agents.contracts.release import DOCUMENT, ImageRelease
from agents.core.errors import Retryable
from agents.io.state import StateFile, write_durably
from edge_commander.update.record import UpdateRecord

NAME = "update.json"
FOLDER = "release"
"""Of the commander's state directory."""
CHECKED = ".checked"


class UpdateStore:
    """`folder`: one release at a time; what is checked has a mark beside it, so that a start does not read it again."""

    def __init__(self, ident: Path, folder: Path) -> None:
        self._file = StateFile(ident / NAME, UpdateRecord)
        self.folder = folder
        self.record = self._file.load()

    def save(self, record: UpdateRecord) -> None:
        """On disk when it returns. Raises Retryable."""
        if record != self.record:
            self._file.save(record)
            self.record = record

    def begin(self, record: UpdateRecord) -> None:
        """Another release: what is here of an older one goes. Raises Retryable."""
        if self.record is None or self.record.sha256 != record.sha256:
            self.clear()
        self.save(record)

    def document(self) -> bytes:
        """`release.json`, where it is the record's; empty where it is not here."""
        assert self.record is not None
        try:
            data = (self.folder / DOCUMENT).read_bytes()
        except OSError:
            return b""
        return data if hashlib.sha256(data).hexdigest() == self.record.sha256 else b""

    def keep(self, document: bytes) -> None:
        """Raises Retryable."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_durably(self.folder / DOCUMENT, document, mode=0o600)
        except OSError as error:
            raise Retryable(f"{self.folder}: {error.strerror}") from None

    def whole(self, release: ImageRelease, slot: str) -> frozenset[str]:
        """Files that came whole and were checked."""
        return frozenset(name for name, one in release.files(slot).items() if self._mark(name, one.sha256).exists())

    def checked(self, name: str, sha256: str) -> None:
        """It is. Raises Retryable: it is checked again then."""
        mark = self._mark(name, sha256)
        try:
            mark.touch()
        except OSError as error:
            raise Retryable(f"{mark}: {error.strerror}") from None

    def _mark(self, name: str, sha256: str) -> Path:
        return self.folder / f"{name}.{sha256[:16]}{CHECKED}"

    def free(self) -> int:
        """Bytes on the folder's file system."""
        place = self.folder if self.folder.exists() else self.folder.parent
        try:
            found = os.statvfs(place)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize

    def clear(self) -> None:
        """Forgets what was fetched."""
        shutil.rmtree(self.folder, ignore_errors=True)
