"""Private keys as files: JSON Web Keys, mode 0600; the endpoint's own, made on the first start, and operators'.

Touches those files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from agents.core.errors import Rejected
from agents.core.jose import SignatureRefused, SoftwareKey
from agents.io.state import create_durably
from cloud_endpoint.signing.foreign import is_public, what_to_do


def load(path: Path) -> SoftwareKey:
    """Reads a private key; raises Rejected naming the file. The key's content is in no error."""
    try:
        open_to_others, data = path.stat().st_mode & 0o077, path.read_bytes()
    except OSError as error:
        raise Rejected(f"cannot be read: {error.strerror}", file=str(path)) from None
    if open_to_others and not is_public(data):
        text = f"a private key must not be readable by others (mode 0600): chmod 600 {path}"
        raise Rejected(text, file=str(path))
    try:
        return SoftwareKey(msgspec.json.decode(data, type=dict))
    except (msgspec.MsgspecError, UnicodeDecodeError, SignatureRefused):
        text = f"holds no private JWK (JSON) on P-256 or Ed25519{what_to_do(data, str(path))}"
        raise Rejected(text, file=str(path)) from None


def create(path: Path, key: SoftwareKey) -> None:
    """Writes a new key file whole or not at all; raises Rejected when there is one already."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_durably(path, msgspec.json.encode(key.private()) + b"\n")
    except FileExistsError:
        raise Rejected("exists already", file=str(path)) from None
    except OSError as error:
        raise Rejected(f"cannot be written: {error.strerror}", file=str(path)) from None


def load_or_create(path: Path) -> SoftwareKey:
    """The key of that file, a new P-256 one where there is no file. Raises Rejected."""
    if not path.exists():
        try:
            create(path, SoftwareKey.generate())
        except Rejected:
            if not path.exists():
                raise
    return load(path)


def wanted(key_out: Path, command_key_out: Path | None) -> list[tuple[Path, str]]:
    """Files and curves of a new operator's keys: the login's, and the one that signs commands where it is asked for."""
    login = [(key_out, "P-256")]
    return login if command_key_out is None else [*login, (command_key_out, "Ed25519")]


@contextmanager
def drafts(wanted: Sequence[tuple[Path, str]]) -> Iterator[list[SoftwareKey]]:
    """New keys (file, curve) for the body to register: the files appear when that is done, all under their names.

    Where the body is refused nothing is left. Where it is not known what came of it (Retryable, a crash), the drafts
    stay beside as `<file>.new`, and the next call registers those same keys. Raises Rejected where a file exists.
    """
    for path, _ in wanted:
        if os.path.lexists(path):
            raise Rejected("exists already", file=str(path))
    keys = [_draft(path, curve) for path, curve in wanted]
    try:
        yield keys
    except Rejected:
        for path, _ in wanted:
            _draft_path(path).unlink(missing_ok=True)
        raise
    for path, _ in wanted:
        _publish(path)


def _draft_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _draft(path: Path, curve: str) -> SoftwareKey:
    draft = _draft_path(path)
    if not draft.exists():
        key = SoftwareKey.generate(curve)
        create(draft, key)
        return key
    key = load(draft)
    if key.public["crv"] != curve:
        raise Rejected(f"is a draft of another kind of key than {curve}: remove it", file=str(draft))
    return key


def _publish(path: Path) -> None:
    draft = _draft_path(path)
    try:
        path.hardlink_to(draft)
        draft.unlink()
    except OSError as error:
        raise Rejected(f"cannot be written: {error.strerror}; the key is in {draft}", file=str(path)) from None
