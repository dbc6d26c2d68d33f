"""`pkcs11:` URIs (RFC 7512): which key on which token, by which module, and the file with the PIN. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from agents.core.errors import Rejected

SCHEME = "pkcs11:"
_TEXTS = ("token", "serial", "manufacturer", "model", "object")
_QUERY = ("module-path", "pin-source")
_TAKEN = (*_TEXTS, "id", "slot-id", "type")


@dataclass(frozen=True)
class TokenKey:
    """A parsed URI. Empty texts, None: whichever. `module`: the library's path. `pin_file`: empty where a person is to
    be asked."""

    token: str = ""
    serial: str = ""
    manufacturer: str = ""
    model: str = ""
    object: str = ""
    id: bytes = b""
    slot: int | None = None
    module: str = ""
    pin_file: str = ""

    def __str__(self) -> str:
        """Its name in messages: never a PIN, nor where one lies."""
        texts = [f"{name}={getattr(self, name)}" for name in _TEXTS if getattr(self, name)]
        texts += [f"id={self.id.hex()}"] if self.id else []
        texts += [] if self.slot is None else [f"slot-id={self.slot}"]
        return SCHEME + ";".join(texts)


def parse(uri: str) -> TokenKey:
    """The URI's content; raises Rejected with all that is wrong with it, and never repeats its values."""
    path, _, query = uri.removeprefix(SCHEME).partition("?")
    problems: list[str] = []
    given = _attributes(path, ";", _TAKEN, problems)
    asked = _attributes(query, "&", _QUERY, problems)
    values = {name: _text(name, given[name], problems) for name in _TEXTS if name in given}
    if not (given.get("object") or given.get("id")):
        problems.append("names no key: object=LABEL or id=%XX is needed")
    if given.get("type", b"private") != b"private":
        problems.append("type can only be private")
    slot = given.get("slot-id", b"0")
    if not (slot.isdigit() and len(slot) < 19):
        problems.append("slot-id must be a number")
    module = _text("module-path", asked.get("module-path", b""), problems)
    if not module.startswith("/"):
        problems.append("?module-path=/PATH is needed: the library that came with the token")
    pin_file = _text("pin-source", asked.get("pin-source", b""), problems).removeprefix("file:")
    if "pin-source" in asked and not pin_file.startswith("/"):
        problems.append("pin-source must be a file, such as file:/etc/galley/pin")
    if problems:
        raise Rejected("; ".join(problems), file="the pkcs11: URI")
    return TokenKey(
        **values,
        id=given.get("id", b""),
        slot=int(slot) if "slot-id" in given else None,
        module=module,
        pin_file="/" + pin_file.lstrip("/") if pin_file else "",
    )


def _attributes(text: str, separator: str, known: tuple[str, ...], problems: list[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else []:
        name, equals, value = part.partition("=")
        if name == "pin-value":
            problems.append("a PIN does not belong on a command line: pin-source=file:/PATH, or type it")
        elif name not in known or not equals:
            shown = name if name.isidentifier() or name.replace("-", "").isalnum() else "an attribute"
            problems.append(f"{shown[:32]} is not known here, only {', '.join(known)}")
        elif name in found:
            problems.append(f"{name} stands twice")
        else:
            found[name] = unquote_to_bytes(value)
    return found


def _text(name: str, value: bytes, problems: list[str]) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or (value and not text):
        problems.append(f"{name} is not text in UTF-8")
    return text
