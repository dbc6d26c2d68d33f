"""One small durable file: schema version, generation and checksum; replaced whole or not at all.

Write-temp, fsync, rename, fsync directory. What cannot be read is renamed to `<name>.corrupt-<n>`, kept, and
remembered in `quarantined` for the daemon to report; it is never silently reset.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from agents.core.errors import Rejected, Retryable

T = TypeVar("T")


class _Record(msgspec.Struct):
    schema: int
    generation: int
    sha256: str
    value: msgspec.Raw


_DAMAGED = (msgspec.MsgspecError, ValueError, RecursionError)


def _sound(data: bytes) -> _Record:
    record = msgspec.json.decode(data, type=_Record)
    if hashlib.sha256(record.value).hexdigest() != record.sha256:
        raise ValueError("checksum differs")
    return record


class StateFile(Generic[T]):
    """A value of `type_` (anything msgspec reads from JSON) in one file of mode 0600.

    `upgrades[n]` turns the JSON value of schema n into that of n + 1. Blocking: a few milliseconds for `save`.
    """

    def __init__(
        self, path: Path, type_: type[T], schema: int = 1, *, upgrades: Mapping[int, Callable[[Any], Any]] | None = None
    ) -> None:
        self.path = path
        self.type_ = type_
        self.schema = schema
        self.upgrades = upgrades or {}
        self.generation = 0
        self.quarantined: list[Path] = []

    def load(self) -> T | None:
        """The value, or None where there is none (or it was corrupt: then see `quarantined`).

        Raises Rejected for a file of a newer schema, Retryable when the disk does not answer.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Retryable(f"{self.path}: cannot be read: {error.strerror}") from None
        try:
            record = _sound(data)
            value = self._value(record)
        except _DAMAGED:
            self.quarantined.append(quarantine(self.path))
            return None
        self.generation = record.generation
        return value

    def peek(self) -> T | None:
        """The value as a bystander sees it: None where there is none that can be read; nothing is put aside."""
        try:
            return self._value(_sound(self.path.read_bytes()))
        except (OSError, Rejected, *_DAMAGED):
            return None

    def _value(self, record: _Record) -> T:
        if record.schema > self.schema:
            text = f"is of schema {record.schema}, newer than this version's {self.schema}"
            raise Rejected(text, file=str(self.path))
        if record.schema == self.schema:
            return msgspec.json.decode(record.value, type=self.type_)
        plain = msgspec.json.decode(record.value)
        for schema in range(record.schema, self.schema):
            if schema not in self.upgrades:
                raise Rejected(f"is of schema {schema}, which cannot be upgraded", file=str(self.path))
            plain = self.upgrades[schema](plain)
        return msgspec.convert(plain, self.type_)

    def save(self, value: T) -> None:
        """Replaces the file; on return the value survives a power cut. Raises Retryable, the old value then stands."""
        raw = msgspec.json.encode(value)
        record = _Record(
            schema=self.schema,
            generation=self.generation + 1,
            sha256=hashlib.sha256(raw).hexdigest(),
            value=msgspec.Raw(raw),
        )
        try:
            write_durably(self.path, msgspec.json.encode(record))
        except OSError as error:
            raise Retryable(f"{self.path}: cannot be written: {error.strerror}") from None
        self.generation += 1


def write_durably(path: Path, data: bytes, mode: int = 0o600, *, owner: tuple[int, int] | None = None) -> None:
    """Replaces a file's content so that after a crash either the old or the new is there, whole. `mode` is the file's,
    whatever the umask; `owner`: uid and gid, where they are not the writer's. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    _fill(temporary, data, mode, os.O_TRUNC, owner)
    temporary.replace(path)
    sync_directory(path.parent)


def create_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Makes a new file, whole or not at all; of two that make it at once one does. Raises OSError, and of these
    FileExistsError where the name is taken."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _fill(temporary, data, mode, os.O_EXCL)
        path.hardlink_to(temporary)  # a rename would replace what another made meanwhile
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _fill(path: Path, data: bytes, mode: int, how: int, owner: tuple[int, int] | None = None) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        if owner is not None:
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Makes renames in the directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def quarantine(path: Path) -> Path:
    """Renames a corrupt file to the first free `<name>.corrupt-<n>` and returns that path. Raises OSError."""
    n = 1
    while (target := path.with_name(f"{path.name}.corrupt-{n}")).exists():
        n += 1
    path.rename(target)
    sync_directory(path.parent)
    return target
