"""A key on a PKCS#11 token: found by its URI, asked to sign. Touches the module, the PIN's file, the terminal."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from agents.core.errors import Rejected
from agents.core.jose import Jwk
from cloud_endpoint.signing import cryptoki
from cloud_endpoint.signing.cryptoki import CryptokiError, Module
from cloud_endpoint.signing.ed25519 import KEY_BYTES, jwk_of, signed_by
from cloud_endpoint.signing.pkcs11_uri import TokenKey, parse

MAX_PIN = 256
_POINTS = (b"\x04\x20", b"\x03\x21\x00", b"")
"""What stands before the point: an OCTET STRING (2.40), a BIT STRING, nothing (3.0)."""


class Pkcs11Key:
    """A Signer whose private half stays on the token. The PIN is asked for once, when it first signs."""

    def __init__(self, module: Module, session: int, uri: TokenKey, id_: bytes, public: Jwk) -> None:
        self.public = public
        self._module, self._session, self._uri, self._id = module, session, uri, id_
        self._private: int | None = None

    def __repr__(self) -> str:
        return f"Pkcs11Key({self._uri})"

    def sign(self, message: bytes) -> bytes:
        """The raw signature; raises Rejected where the token gives none."""
        try:
            if self._private is None:
                self._module.login(self._session, _pin(self._uri))
                self._private = self._own_half()
            raw = self._module.sign(self._session, self._private, message)
        except CryptokiError as error:
            raise Rejected(str(error), file=str(self._uri)) from None
        if not signed_by(self.public, message, raw):
            raise Rejected("what the token answered is no signature by it", file=str(self._uri))
        return raw

    def _own_half(self) -> int:
        named: dict[int, bytes | int] = (
            {cryptoki.ID: self._id} if self._id else {cryptoki.LABEL: self._uri.object.encode()}
        )
        found = self._module.find(self._session, {cryptoki.CLASS: cryptoki.PRIVATE_KEY, **named})
        if len(found) != 1:
            raise Rejected(f"the token has {len(found)} private keys of this name: give its id", file=str(self._uri))
        return found[0]


def find_on_token(text: str) -> Pkcs11Key:
    """The key that a `pkcs11:` URI names; raises Rejected."""
    uri = parse(text)
    try:
        module = Module(uri.module)
    except OSError as error:
        raise Rejected(f"the PKCS#11 module cannot be loaded: {error.strerror or error}", file=uri.module) from None
    except CryptokiError as error:
        raise Rejected(f"the PKCS#11 module does not start: {error}", file=uri.module) from None
    try:
        session = module.session(_slot(module, uri))
        handle = _public_half(module, session, uri)
        return Pkcs11Key(
            module, session, uri, module.attribute(session, handle, cryptoki.ID), _public(module, session, handle, uri)
        )
    except CryptokiError as error:
        raise Rejected(str(error), file=str(uri)) from None


def _slot(module: Module, uri: TokenKey) -> int:
    wanted = {name: getattr(uri, name) for name in ("token", "serial", "manufacturer", "model") if getattr(uri, name)}
    tokens = {slot: module.token(slot) for slot in module.slots()}
    found = [
        slot
        for slot, token in tokens.items()
        if uri.slot in (None, slot) and all(token[name] == value for name, value in wanted.items())
    ]
    if len(found) == 1:
        return found[0]
    labels = ", ".join(f"token={one['token']};serial={one['serial']}" for one in tokens.values() if one["token"])
    cause = f"{len(found)} tokens match" if found else "no such token: taken out?"
    raise Rejected(f"{cause}; there are: {_printable(labels) or 'none'} (module {uri.module})", file=str(uri))


def _public_half(module: Module, session: int, uri: TokenKey) -> int:
    wanted: dict[int, bytes | int] = {cryptoki.CLASS: cryptoki.PUBLIC_KEY}
    wanted |= {cryptoki.LABEL: uri.object.encode()} if uri.object else {}
    wanted |= {cryptoki.ID: uri.id} if uri.id else {}
    found = module.find(session, wanted)
    if len(found) != 1:
        cause = "several keys match: give object and id" if found else "the token has no public key of this name"
        raise Rejected(cause, file=str(uri))
    return found[0]


def _public(module: Module, session: int, handle: int, uri: TokenKey) -> Jwk:
    kind = module.number(session, handle, cryptoki.KEY_TYPE)
    point = module.attribute(session, handle, cryptoki.EC_POINT)
    for head in _POINTS:
        if kind == cryptoki.EC_EDWARDS and len(point) == len(head) + KEY_BYTES and point.startswith(head):
            return jwk_of(point[len(head) :])
    raise Rejected("is not an Ed25519 key: no other signs here", file=str(uri))


def _pin(uri: TokenKey) -> bytes:
    if not uri.pin_file:
        if not sys.stdin.isatty():
            raise Rejected(
                "its PIN can be asked for on a terminal alone: add ?pin-source=file:/PATH to the URI", file=str(uri)
            )
        return getpass.getpass(f"PIN of {uri}: ").encode()
    file = Path(uri.pin_file)
    try:
        if file.stat().st_mode & 0o077:
            raise Rejected("a PIN must not be readable by others (mode 0600)", file=str(file))
        with file.open("rb") as opened:
            pin = opened.read(MAX_PIN + 1).rstrip(b"\r\n")
    except OSError as error:
        raise Rejected(f"the PIN cannot be read: {error.strerror}", file=str(file)) from None
    if not 0 < len(pin) <= MAX_PIN:
        raise Rejected(f"holds no PIN (1 to {MAX_PIN} bytes)", file=str(file))
    return pin


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)
