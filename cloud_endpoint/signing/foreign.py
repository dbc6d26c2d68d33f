"""Keys of other programs that people give as `--key`: what such a file is, and what to do with it. Pure.

Nothing of a private key is decrypted or shown: OpenSSH's format has the public half beside it in plain text
(PROTOCOL.key of OpenSSH), which is enough to name the key as the agent does.
"""

from __future__ import annotations

import base64
import hashlib
import shlex

_BEGIN, _END = b"-----BEGIN OPENSSH PRIVATE KEY-----", b"-----END OPENSSH PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"
_ED25519 = "ssh-ed25519"
_MAKE = "make one with `ssh-keygen -t ed25519`, or let `galley operator add --command-key-out` make a JWK"
MAX_BYTES = 64 * 1024


def is_public(data: bytes) -> bool:
    """A public key of ssh, which anybody may read."""
    return data.startswith((b"ssh-", b"ecdsa-sha2-", b"sk-"))


def what_to_do(data: bytes, path: str) -> str:
    """To be said behind what is wrong with the file; empty for what is of no known kind."""
    data = data[:MAX_BYTES].strip()
    if data.startswith(_BEGIN):
        return _openssh(data, path)
    if is_public(data):
        return ": it is a public key of ssh; the private half signs, out of an agent: --key ssh-agent:COMMENT"
    if b"-----BEGIN CERTIFICATE-----" in data[:256]:
        return ": it is a certificate, not a key"
    if data.startswith(b"-----BEGIN") and b"PRIVATE KEY-----" in data[:64]:
        return f": it is a private key in PEM, which is not read here; {_MAKE}"
    return ""


def _openssh(data: bytes, path: str) -> str:
    public = _public(data)
    kind = _kind(public)
    if kind and kind != _ED25519:
        return f": it is an OpenSSH key of kind {kind}, and only Ed25519 signs here; {_MAKE}"
    if not kind:
        return f": it is an OpenSSH private key, and cannot be read; {_MAKE}"
    fingerprint = base64.b64encode(hashlib.sha256(public).digest()).rstrip(b"=").decode()
    return (
        f": it is an OpenSSH private key, which stays with ssh's agent: `ssh-add {shlex.quote(path)}`,"
        f" then --key ssh-agent:SHA256:{fingerprint}"
    )


def _public(data: bytes) -> bytes:
    """The public key's blob (RFC 4253); empty where there is none."""
    try:
        raw = base64.b64decode(b"".join(data[len(_BEGIN) :].partition(_END)[0].split()), validate=True)
        rest = raw.removeprefix(_MAGIC)
        if rest is raw:
            return b""
        for _ in range(3):  # cipher, key derivation and its options
            _, rest = _string(rest)
        return _string(rest[4:])[0]  # behind the number of keys, which is one
    except ValueError:
        return b""


def _kind(public: bytes) -> str:
    try:
        found = _string(public)[0].decode("ascii") if public else ""
    except ValueError:
        return ""
    return found if found.isprintable() and len(found) < 64 else ""


def _string(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 or len(data) < 4 + length:
        raise ValueError("it ends early")
    return data[4 : 4 + length], data[4 + length :]
