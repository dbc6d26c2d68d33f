"""A key that an ssh-agent holds: found by fingerprint or comment, asked to sign. Touches the socket of SSH_AUTH_SOCK.

The protocol is that of draft-ietf-sshm-ssh-agent: a frame is its length (4 bytes) and its content, whose first byte is
the type. An Ed25519 key signs the bytes as they are, so what comes back is the JWS signature. No login of ssh is ever
such a message: what ssh signs begins with a length, a JWS with `eyJ`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
from typing import NamedTuple

from agents.core.errors import Rejected
from agents.core.jose import Jwk
from cloud_endpoint.signing.ed25519 import KEY_BYTES, jwk_of, signed_by

SOCKET = "SSH_AUTH_SOCK"
SECONDS = 120
"""A person may have to confirm (`ssh-add -c`)."""
MAX_FRAME = 256 * 1024
ED25519 = b"ssh-ed25519"
_FAILURE, _ASK_KEYS, _KEYS, _ASK_SIGN, _SIGNED = 5, 11, 12, 13, 14


class Held(NamedTuple):
    """One of the agent's keys. `blob`: the public key as ssh writes it (RFC 4253)."""

    blob: bytes
    comment: str

    @property
    def kind(self) -> bytes:
        """Such as `ssh-ed25519`; empty for a blob that cannot be read."""
        try:
            return _string(self.blob)[0]
        except ValueError:
            return b""

    @property
    def fingerprint(self) -> str:
        """As `ssh-add -l` shows it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).rstrip(b"=").decode()


class AgentKey:
    """A Signer whose private half stays in the agent."""

    def __init__(self, path: str, held: Held, public: Jwk) -> None:
        self.public = public
        self._path, self._held = path, held

    def __repr__(self) -> str:
        return f"AgentKey({self._held.fingerprint})"

    def sign(self, message: bytes) -> bytes:
        """The raw signature; raises Rejected where the agent gives none."""
        name = f"ssh-agent:{self._held.fingerprint}"
        asked = bytes([_ASK_SIGN]) + _framed(self._held.blob) + _framed(message) + struct.pack(">I", 0)
        answer = _ask(self._path, asked)
        if answer[0] != _SIGNED:
            raise Rejected(
                f"the agent does not sign with it: locked, taken out, or not confirmed (socket {self._path})", file=name
            )
        try:
            kind, raw = _strings(_string(answer[1:])[0], 2)
        except ValueError:
            kind, raw = b"", b""
        if kind != ED25519 or not signed_by(self.public, message, raw):
            raise Rejected("what the agent answered is no signature by it", file=name)
        return raw


def find(which: str) -> AgentKey:
    """The agent's key with this fingerprint (`SHA256:...`) or comment; raises Rejected."""
    name, path = f"ssh-agent:{which}", os.environ.get(SOCKET, "")
    if not which:
        raise Rejected("names no key: give its fingerprint or its comment, as `ssh-add -l` shows them", file=name)
    if not path:
        raise Rejected(f"{SOCKET} is not set: no ssh-agent runs for this shell", file=name)
    held = keys(path)
    found = [one for one in held if which in (one.fingerprint, one.comment)]
    if not held:
        raise Rejected(f"the agent at {path} shows no key: it has none, or it is locked (`ssh-add -X`)", file=name)
    if not found:
        raise Rejected(f"the agent has no such key; it has {', '.join(map(_described, held))}", file=name)
    if len(found) > 1:
        raise Rejected(f"several keys have this comment, name one by its fingerprint: {_listed(found)}", file=name)
    (one,) = found
    if one.kind != ED25519:
        more = "; a security key signs more than the message" if one.kind.startswith(b"sk-") else ""
        raise Rejected(f"is of the kind {_shown(one.kind)}: only ssh-ed25519 signs here{more}", file=name)
    raw = _strings(one.blob, 2)[1]
    if len(raw) != KEY_BYTES:
        raise Rejected("is no valid Ed25519 key", file=name)
    return AgentKey(path, one, jwk_of(raw))


def keys(path: str) -> list[Held]:
    """What the agent at this socket shows; a locked one shows nothing. Raises Rejected."""
    answer = _ask(path, bytes([_ASK_KEYS]))
    try:
        (count,) = struct.unpack_from(">I", answer, 1)
        if answer[0] != _KEYS or count > len(answer):
            raise ValueError
        strings = _strings(answer[5:], 2 * count)
    except (ValueError, struct.error):
        raise Rejected("what answers there is no ssh-agent", file=path) from None
    pairs = zip(strings[::2], strings[1::2], strict=True)
    return [Held(blob, comment.decode(errors="replace")) for blob, comment in pairs]


def _ask(path: str, content: bytes) -> bytes:
    """One question, one answer of at least a byte."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(SECONDS)
            line.connect(path)
            line.sendall(_framed(content))
            (length,) = struct.unpack(">I", _read(line, 4))
            if not 1 <= length <= MAX_FRAME:
                raise Rejected("what answers there is no ssh-agent", file=path)
            return _read(line, length)
    except TimeoutError:
        raise Rejected(f"the ssh-agent does not answer within {SECONDS} s", file=path) from None
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise Rejected(f"the ssh-agent cannot be asked: {cause}", file=path) from None


def _read(line: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = line.recv(size - len(found))
        if not more:
            raise ValueError("it ended the connection")
        found += more
    return found


def _framed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _string(data: bytes) -> tuple[bytes, bytes]:
    """The first string of `data`, and the rest; raises ValueError."""
    if len(data) < 4:
        raise ValueError
    end = 4 + struct.unpack_from(">I", data)[0]
    if len(data) < end:
        raise ValueError
    return data[4:end], data[end:]


def _strings(data: bytes, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        one, data = _string(data)
        found.append(one)
    return found


def _shown(text: bytes | str) -> str:
    decoded = text.decode(errors="replace") if isinstance(text, bytes) else text
    return "".join(one if one.isprintable() else "?" for one in decoded)[:80]


def _described(one: Held) -> str:
    return f"{_shown(one.comment)} ({_shown(one.kind)}, {one.fingerprint})"


def _listed(found: list[Held]) -> str:
    return ", ".join(one.fingerprint for one in found)
