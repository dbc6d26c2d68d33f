"""The endpoint's own signing keys as files: JSON Web Keys, mode 0600, made on the first start; touches those files."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from agents.core.errors import Rejected
from agents.core.jose import SignatureRefused, SoftwareKey


def load(path: Path) -> SoftwareKey:
    """Reads a private key; raises Rejected naming the file. The key's content is in no error."""
    try:
        if path.stat().st_mode & 0o077:
            raise Rejected("a private key must not be readable by others (mode 0600)", file=str(path))
        return SoftwareKey(msgspec.json.decode(path.read_bytes(), type=dict))
    except OSError as error:
        raise Rejected(f"cannot be read: {error.strerror}", file=str(path)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, SignatureRefused):
        raise Rejected("holds no private JWK on P-256 or Ed25519", file=str(path)) from None


def create(path: Path, key: SoftwareKey) -> None:
    """Writes a new key file whole or not at all; raises Rejected when there is one already."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(key.private()) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary)  # fails where the name exists: two starters never overwrite each other's key
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except FileExistsError:
        raise Rejected("exists already", file=str(path)) from None
    except OSError as error:
        raise Rejected(f"cannot be written: {error.strerror}", file=str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def load_or_create(path: Path) -> SoftwareKey:
    """The key of that file, a new P-256 one where there is no file. Raises Rejected."""
    if not path.exists():
        try:
            create(path, SoftwareKey.generate())
        except Rejected:
            if not path.exists():
                raise
    return load(path)
