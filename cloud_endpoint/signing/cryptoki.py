"""The few calls of PKCS#11 (OASIS, version 2.40 and later) that signing takes, by ctypes. Touches the module's library.

`pkcs11-tool` would do, were it not for its buffer: an EdDSA signature over more than 1024 bytes fails with it
(OpenSC 0.23), and an operators' document is longer. See docs/decisions/0058.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char, c_char_p, c_ubyte, c_ulong, c_void_p
from typing import Any

OK, ALREADY = 0x0, 0x191
PUBLIC_KEY, PRIVATE_KEY = 2, 3
CLASS, LABEL, KEY_TYPE, ID, EC_POINT = 0x0, 0x3, 0x100, 0x102, 0x181
EC_EDWARDS = 0x40
EDDSA = 0x1057
_SERIAL_SESSION, _USER, _LOGGED_IN = 0x4, 1, 0x100
_UNAVAILABLE = c_ulong(-1).value
_MAX_OBJECTS = 256
_CALLS = {
    "Initialize": (0, (c_void_p,)),
    "GetSlotList": (4, (c_ubyte, c_void_p, POINTER(c_ulong))),
    "GetTokenInfo": (6, (c_ulong, c_void_p)),
    "OpenSession": (12, (c_ulong, c_ulong, c_void_p, c_void_p, POINTER(c_ulong))),
    "Login": (18, (c_ulong, c_ulong, c_char_p, c_ulong)),
    "GetAttributeValue": (24, (c_ulong, c_ulong, c_void_p, c_ulong)),
    "FindObjectsInit": (26, (c_ulong, c_void_p, c_ulong)),
    "FindObjects": (27, (c_ulong, c_void_p, c_ulong, POINTER(c_ulong))),
    "FindObjectsFinal": (28, (c_ulong,)),
    "SignInit": (42, (c_ulong, c_void_p, c_ulong)),
    "Sign": (43, (c_ulong, c_char_p, c_ulong, c_void_p, POINTER(c_ulong))),
}
"""Place in CK_FUNCTION_LIST, and what it takes."""


class _Attribute(ctypes.Structure):
    _fields_ = (("type", c_ulong), ("value", c_void_p), ("length", c_ulong))


class _Mechanism(ctypes.Structure):
    _fields_ = (("mechanism", c_ulong), ("parameter", c_void_p), ("length", c_ulong))


class _FunctionList(ctypes.Structure):
    _fields_ = (("version", c_ubyte * 2), ("functions", c_void_p * 44))


class _TokenInfo(ctypes.Structure):
    _fields_ = (
        ("label", c_char * 32),
        ("manufacturer", c_char * 32),
        ("model", c_char * 16),
        ("serial", c_char * 16),
        ("rest", c_ubyte * 256),  # flags, counts, versions: more room than they take
    )


class CryptokiError(Exception):
    """What the module answered. `code`: a CKR_ value."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"C_{call}: {REASONS.get(code, f'error 0x{code:x}')}")
        self.code = code


REASONS = {
    0x5: "the module failed (CKR_GENERAL_ERROR)",
    0x30: "the device failed (CKR_DEVICE_ERROR)",
    0x32: "the token was taken out",
    0x63: "the key is of another kind",
    0x68: "the key may not do that",
    0x70: "the token cannot sign with Ed25519",
    0xA0: "the PIN is wrong; too many wrong ones lock the token",
    0xA1: "the PIN has characters that it cannot have",
    0xA2: "the PIN is too short or too long",
    0xA3: "the PIN has expired",
    0xA4: "the PIN is locked",
    0xB3: "the session ended: the token was taken out",
    0xE0: "there is no token",
    0xE1: "the token is not one of this module's",
    0x102: "the token has no PIN yet",
}


class Module:
    """A loaded module; what it raises is CryptokiError, and OSError where it cannot be loaded."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        listed = POINTER(_FunctionList)()
        try:
            get_list = self._library.C_GetFunctionList
        except AttributeError:
            raise OSError(0, "it is no PKCS#11 module") from None
        get_list.restype = c_ulong
        self._check("GetFunctionList", get_list(byref(listed)))
        self._functions = listed.contents.functions
        code = self._raw("Initialize", None)
        if code != ALREADY:
            self._check("Initialize", code)

    def slots(self) -> list[int]:
        """Slots with a token in them."""
        count = c_ulong()
        self._call("GetSlotList", 1, None, byref(count))
        found = (c_ulong * max(1, count.value))()
        self._call("GetSlotList", 1, found, byref(count))
        return list(found[: count.value])

    def token(self, slot: int) -> dict[str, str]:
        """`token` (its label), `manufacturer`, `model`, `serial`."""
        info = _TokenInfo()
        self._call("GetTokenInfo", slot, byref(info))
        names = {"token": "label", "manufacturer": "manufacturer", "model": "model", "serial": "serial"}
        return {name: getattr(info, field).decode(errors="replace").rstrip() for name, field in names.items()}

    def session(self, slot: int) -> int:
        """A new read-only session."""
        session = c_ulong()
        self._call("OpenSession", slot, _SERIAL_SESSION, None, None, byref(session))
        return session.value

    def login(self, session: int, pin: bytes) -> None:
        """As the token's user."""
        code = self._raw("Login", session, _USER, pin, len(pin))
        if code != _LOGGED_IN:
            self._check("Login", code)

    def find(self, session: int, wanted: dict[int, bytes | int]) -> list[int]:
        """The objects that have these attributes."""
        template, kept = _template(wanted)
        self._call("FindObjectsInit", session, template, len(kept))
        found, count = (c_ulong * _MAX_OBJECTS)(), c_ulong()
        try:
            self._call("FindObjects", session, found, _MAX_OBJECTS, byref(count))
        finally:
            self._raw("FindObjectsFinal", session)
        return list(found[: count.value])

    def attribute(self, session: int, handle: int, kind: int) -> bytes:
        """An attribute's value; empty where the object has none."""
        one = _Attribute(kind, None, 0)
        code = self._raw("GetAttributeValue", session, handle, byref(one), 1)
        if code != OK or one.length in (0, _UNAVAILABLE):
            return b""
        buffer = ctypes.create_string_buffer(one.length)
        one.value = ctypes.cast(buffer, c_void_p).value
        self._call("GetAttributeValue", session, handle, byref(one), 1)
        return buffer.raw[: one.length]

    def number(self, session: int, handle: int, kind: int) -> int:
        """An attribute that is a CK_ULONG; -1 where the object has none."""
        raw = self.attribute(session, handle, kind)
        return c_ulong.from_buffer_copy(raw).value if len(raw) == ctypes.sizeof(c_ulong) else -1

    def sign(self, session: int, key: int, message: bytes) -> bytes:
        """The EdDSA signature over the message as it is."""
        mechanism = _Mechanism(EDDSA, None, 0)
        self._call("SignInit", session, byref(mechanism), key)
        buffer, length = ctypes.create_string_buffer(512), c_ulong(512)
        self._call("Sign", session, message, len(message), buffer, byref(length))
        return buffer.raw[: length.value]

    def _call(self, name: str, *arguments: Any) -> None:
        self._check(name, self._raw(name, *arguments))

    def _raw(self, name: str, *arguments: Any) -> int:
        place, types = _CALLS[name]
        return int(ctypes.CFUNCTYPE(c_ulong, *types)(self._functions[place])(*arguments))

    @staticmethod
    def _check(name: str, code: int) -> None:
        if code != OK:
            raise CryptokiError(name, code)


def _template(wanted: dict[int, bytes | int]) -> tuple[Any, Sequence[Any]]:
    """A template, and the buffers that must live as long as it does."""
    kept = [
        c_ulong(one) if isinstance(one, int) else ctypes.create_string_buffer(one, len(one)) for one in wanted.values()
    ]
    attributes = [
        _Attribute(kind, ctypes.cast(byref(one), c_void_p).value, ctypes.sizeof(one))
        for kind, one in zip(wanted, kept, strict=True)
    ]
    return (_Attribute * max(1, len(kept)))(*attributes), kept
