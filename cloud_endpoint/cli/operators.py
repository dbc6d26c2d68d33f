"""`galley operators`: makes, changes, signs and shows operators' documents. Touches files; `push` and `list` alone
ask the endpoint.

Each change is the next document in a file of its own, signed by keys of the one before it. The first one goes beside
every node's galley.yaml; the later ones are pushed to the endpoint, which carries them.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.signed import SignedDocument
from agents.contracts.trust import OperatorKey, OperatorsDocument
from agents.core.errors import Rejected
from agents.core.jose import Jwk, SignatureRefused, SoftwareKey, canonical, check_header, thumbprint
from agents.core.operators import OPERATORS_TYPE, read_operators_document, sign_operators
from agents.core.signed import read_payload, signature
from cloud_endpoint.cli.client import Client
from cloud_endpoint.cli.entries import KEY
from cloud_endpoint.cli.spec import Command, Flag
from cloud_endpoint.signing.keys import open_key, operators_key

MAX_FILE = 1024 * 1024


async def init(client: None, options: argparse.Namespace) -> Any:
    """The first document, for galley.yaml."""
    keys = [OperatorKey(name=options.name, key=operators_key(options.key).public)]
    for text in options.add:
        name, equals, file = text.partition("=")
        if not (name and equals and file):
            raise Rejected(f"{text!r} is not NAME=FILE", path="--add")
        keys.append(OperatorKey(name=name, key=public_key(Path(file))))
    document = OperatorsDocument(
        generation=1,
        keys=keys,
        threshold=options.threshold or 1,
        roster_keys=[public_key(file) for file in options.roster_key],
    )
    return _write(options.out, sign_operators(document, [operators_key(options.key)]))


async def add(client: None, options: argparse.Namespace) -> Any:
    """The next document, with one key more."""
    before = _document(options.file)
    keys = [*before.keys, OperatorKey(name=options.name, key=public_key(options.public))]
    return _next(options, before, keys=keys)


async def remove(client: None, options: argparse.Namespace) -> Any:
    """The next document, without that operator's key, or with it retired."""
    before = _document(options.file)
    if options.name not in [one.name for one in before.keys]:
        raise Rejected(f"has no operator {options.name!r}", file=str(options.file))
    now = int(time.time())
    keys = [
        msgspec.structs.replace(one, retired=one.retired or now) if one.name == options.name else one
        for one in before.keys
        if options.retire or one.name != options.name
    ]
    return _next(options, before, keys=keys)


async def endorse(client: None, options: argparse.Namespace) -> Any:
    """The next document, that names the only keys which may sign rosters."""
    return _next(options, _document(options.file), roster_keys=[public_key(file) for file in options.roster_key])


async def sign(client: None, options: argparse.Namespace) -> Any:
    """One more signature under a document."""
    signed, key = _read(options.file), operators_key(options.key)
    read_operators_document(signed)
    if thumbprint(key.public) in _kids(signed):
        raise Rejected("is signed by this key already", file=str(options.file))
    one = signature(signed.payload, key, OPERATORS_TYPE)
    return _write(options.out, msgspec.structs.replace(signed, signatures=[*signed.signatures, one]))


async def show(client: None, options: argparse.Namespace) -> Any:
    """What a document says."""
    return _shown(_read(options.file))


async def public(client: None, options: argparse.Namespace) -> Any:
    """The public half of a key, to give to who makes the next document."""
    return open_key(options.key).public


async def push(client: Client, options: argparse.Namespace) -> Any:
    """Gives documents to the endpoint, in order."""
    found: list[Any] = []
    query = "?orphans=allow" if options.allow_orphans else ""
    for file in options.files:
        body = msgspec.to_builtins(_read(file))
        found.append(await client.call("POST", f"/v1/admin/operators-documents{query}", body))
    return found


async def listed(client: Client, options: argparse.Namespace) -> Any:
    """The documents at the endpoint."""
    return (await client.call("GET", "/v1/admin/operators-documents"))["documents"]


async def roster_key(client: Client, options: argparse.Namespace) -> Any:
    """The public key that signs rosters at the endpoint, for `endorse` and for `roster_keys_file`."""
    return (await client.call("GET", "/v1/admin/operators-documents"))["roster_keys"][0]


def public_key(path: Path) -> Jwk:
    """A public key out of a file with it or with the private one; raises Rejected naming the file."""
    try:
        jwk = msgspec.json.decode(_bytes(path), type=dict[str, Any])
        return canonical(jwk) if "d" not in jwk else SoftwareKey(jwk).public
    except (msgspec.MsgspecError, UnicodeDecodeError, SignatureRefused):
        raise Rejected("holds no JWK on P-256 or Ed25519", file=str(path)) from None


def _next(options: argparse.Namespace, before: OperatorsDocument, **changes: Any) -> Any:
    threshold = options.threshold or before.threshold
    document = msgspec.structs.replace(before, generation=before.generation + 1, threshold=threshold, **changes)
    return _write(options.out, sign_operators(document, [operators_key(file) for file in options.key]))


def _document(path: Path) -> OperatorsDocument:
    signed = _read(path)
    read_operators_document(signed)
    return read_payload(signed, OperatorsDocument)


def _read(path: Path) -> SignedDocument:
    try:
        return decode(_bytes(path), SignedDocument)
    except ContractError as error:
        raise Rejected(f"is no signed operators' document: {error}", file=str(path)) from None


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE)
    except OSError as error:
        raise Rejected(f"cannot be read: {error.strerror}", file=str(path)) from None


def _write(path: Path, signed: SignedDocument) -> Any:
    """A new file; raises Rejected where there is one: documents are kept, each under its own name."""
    try:
        with path.open("xb") as file:
            file.write(msgspec.json.format(encode(signed), indent=1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise Rejected("exists already", file=str(path)) from None
    except OSError as error:
        raise Rejected(f"cannot be written: {error.strerror}", file=str(path)) from None
    return _shown(signed)


def _shown(signed: SignedDocument) -> Any:
    found = read_operators_document(signed)
    names = {kid: one.name for kid, one in found.keys.items()}
    return {
        "generation": found.generation,
        "threshold": found.threshold,
        "names": [one.name for one in found.keys.values() if not one.retired],
        "retired": [one.name for one in found.keys.values() if one.retired],
        "keys": [f"{one.name}:{kid}" for kid, one in found.keys.items()],
        "roster_keys": sorted(found.roster_keys),
        "signed_by": [names.get(kid, kid) for kid in _kids(signed)],
    }


def _kids(signed: SignedDocument) -> list[str]:
    return [str(check_header(one.protected).get("kid", "")) for one in signed.signatures]


_FILE: Flag = ("file", {"type": Path, "help": "the document before"})
_DOCUMENT: Flag = ("file", {"type": Path, "metavar": "FILE", "help": "a signed document"})
_OUT: Flag = ("--out", {"type": Path, "required": True, "metavar": "FILE", "help": "where the document goes"})
_THRESHOLD: Flag = ("--threshold", {"type": int, "default": 0, "help": "keys that must sign the document after"})
_KEYS: Flag = ("--key", {**KEY, "action": "append"})
_ROSTER: dict[str, Any] = {"type": Path, "action": "append", "metavar": "FILE", "help": "the endpoint's public key"}
COLUMNS: Sequence[str] = ("generation", "threshold", "names", "retired", "signed_by")
STORED_COLUMNS: Sequence[str] = ("generation", "threshold", "names", "retired", "roster_keys")
OPERATORS: tuple[Command, ...] = (
    Command(
        ("operators", "init"),
        "make the first operators' document, for every node's galley.yaml",
        init,
        [
            ("--key", KEY),
            ("--name", {"required": True, "help": "whose key that is"}),
            ("--add", {"action": "append", "default": [], "metavar": "NAME=FILE", "help": "another's public key"}),
            ("--roster-key", {**_ROSTER, "default": []}),
            _THRESHOLD,
            _OUT,
        ],
        COLUMNS,
        local=True,
    ),
    Command(
        ("operators", "add"),
        "make the next document, with one key more",
        add,
        [
            _FILE,
            ("--name", {"required": True, "help": "whose key that is"}),
            ("--public", {"type": Path, "required": True, "metavar": "FILE", "help": "the new key's public half"}),
            _KEYS,
            _THRESHOLD,
            _OUT,
        ],
        COLUMNS,
        local=True,
    ),
    Command(
        ("operators", "remove"),
        "make the next document, without a key: what it signed counts no longer",
        remove,
        [
            _FILE,
            ("--name", {"required": True, "help": "whose key that is"}),
            ("--retire", {"action": "store_true", "help": "what it signed up to now goes on counting"}),
            _KEYS,
            _THRESHOLD,
            _OUT,
        ],
        COLUMNS,
        local=True,
    ),
    Command(
        ("operators", "endorse"),
        "make the next document, naming the only keys that may sign rosters",
        endorse,
        [_FILE, ("--roster-key", {**_ROSTER, "required": True}), _KEYS, _THRESHOLD, _OUT],
        COLUMNS,
        local=True,
    ),
    Command(
        ("operators", "sign"),
        "put one more signature under a document",
        sign,
        [_DOCUMENT, ("--key", KEY), _OUT],
        COLUMNS,
        local=True,
    ),
    Command(("operators", "show"), "what a document says", show, [_DOCUMENT], (*COLUMNS, "keys"), local=True),
    Command(("operators", "public"), "the public half of a key, as JSON", public, [("--key", KEY)], local=True),
    Command(
        ("operators", "push"),
        "give documents to the endpoint, in order",
        push,
        [
            ("files", {"type": Path, "nargs": "+", "metavar": "FILE", "help": "signed documents, the oldest first"}),
            ("--allow-orphans", {"action": "store_true", "help": "entries may lose their signer's key"}),
        ],
        STORED_COLUMNS,
    ),
    Command(
        ("operators", "list"),
        "the documents at the endpoint",
        listed,
        columns=STORED_COLUMNS,
    ),
    Command(("operators", "roster-key"), "the endpoint's public key that signs rosters, as JSON", roster_key),
)
