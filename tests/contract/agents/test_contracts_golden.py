"""An old agent must be understood for ever: golden JSON per contract type and version.

`<type>.full.json` holds every field of the newest form and is written back equal. When a type gains a field, the
field has a default, a new full file `<type>.full-<n>.json` is added, and the old file stays: it must then still be
read, and everything in it kept. `<type>.least.json` holds only what the first form required: a new field without a
default, or a narrower one, breaks its test.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from agents.contracts import command, election, identity, images, ingest, messages, orders, signed, trust, wipe
from agents.contracts.codec import decode, encode
from agents.contracts.ids import Stream

GOLDEN = Path(__file__).parents[1] / "golden"
TYPES: dict[str, type[msgspec.Struct]] = {
    "beat": messages.Beat,
    "facts": messages.Facts,
    "deployment": messages.Deployment,
    "synthetic": messages.Synthetic,
    "state": messages.State,
    "alert": messages.Alert,
    "command-result": messages.CommandResult,
    "challenge-message": messages.Challenge,
    "overlay": messages.Overlay,
    "ingest-request": ingest.IngestRequest,
    "ingest-answer": ingest.IngestAnswer,
    "enrol-request": identity.EnrolRequest,
    "enrol-answer": identity.EnrolAnswer,
    "token-answer": identity.TokenAnswer,
    "site-document": identity.SiteDocument,
    "git-credential": identity.GitCredential,
    "election-query": election.Query,
    "election-prepare": election.Prepare,
    "election-accept": election.Accept,
    "election-learn": election.Learn,
    "election-answer": election.ElectionAnswer,
    "init-ask": election.InitAsk,
    "init-grant": election.InitGrant,
    "wanted-images": images.WantedImages,
    "node-images": images.NodeImages,
    "signed-document": signed.SignedDocument,
    "shipping-entry": trust.ShippingEntry,
    "epoch-authorisation": trust.EpochAuthorisation,
    "roster": trust.Roster,
    "operators-document": trust.OperatorsDocument,
    "site-order": orders.SiteOrder,
    "wipe-grant-ask": wipe.WipeGrantAsk,
    "wipe-grant": wipe.WipeGrant,
}
FILES = sorted(file for file in GOLDEN.rglob("*.json") if ".full" in file.name or ".least" in file.name)


def type_of(file: Path) -> type[msgspec.Struct]:
    return TYPES[file.name.split(".")[0]]


def newest_full(name: str) -> Path:
    files = [file for file in FILES if file.name.startswith(f"{name}.full")]
    return max(files, key=lambda file: int(file.stem.partition("full-")[2] or 1))


def contains(whole: Any, part: Any) -> bool:
    """True when every field of `part`, at any depth, stands in `whole` with its value."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(contains, whole, part))
    return type(whole) is type(part) and bool(whole == part)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_golden_file_is_read_and_nothing_of_it_is_lost(file: Path) -> None:
    value = decode(file.read_bytes(), type_of(file))
    assert contains(json.loads(encode(value)), json.loads(file.read_text()))
    assert decode(encode(value), type_of(file)) == value


@pytest.mark.parametrize("name", TYPES)
def test_the_newest_full_file_holds_every_field_and_is_written_back_equal(name: str) -> None:
    file = newest_full(name)
    written = json.loads(encode(decode(file.read_bytes(), TYPES[name])))
    assert written == json.loads(file.read_text())
    assert all_fields_set(TYPES[name], written)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_field_from_the_future_is_ignored(file: Path) -> None:
    document = json.loads(file.read_text())
    old = decode(json.dumps(document), type_of(file))
    new = decode(json.dumps({**document, "later": {"x": [1]}}), type_of(file))
    assert encode(new) == encode(old)


def test_every_kind_of_message_has_golden_files_of_both_forms() -> None:
    bodies = {name for name, type_ in TYPES.items() if type_ in get_args(messages.Body)}
    assert {TYPES[name] for name in bodies} == set(get_args(messages.Body))
    for name in TYPES:
        assert (GOLDEN / "v1" / f"{name}.full.json").exists() and (GOLDEN / "v1" / f"{name}.least.json").exists()


def test_every_body_is_read_by_its_tag_and_belongs_on_a_stream() -> None:
    for type_ in get_args(messages.Body):
        name = next(name for name, one in TYPES.items() if one is type_)
        raw = newest_full(name).read_bytes()
        kind = messages.kind_of(decode(raw, type_))
        streams = [stream for stream in Stream if kind in messages.KINDS[stream]]
        assert streams
        envelope = ingest.Envelope(seq=1, t=1, m=msgspec.Raw(raw))
        assert isinstance(ingest.read_body(streams[0], envelope), type_)


def test_commands_refuse_what_they_do_not_know() -> None:
    """The one contract with closed fields: what a node does not understand of a signed command it must not obey."""
    file = GOLDEN / "v1" / "command-sync.json"
    document = json.loads(file.read_text())
    decode(json.dumps(document), command.Command)
    with pytest.raises(ValueError, match="later"):
        decode(json.dumps({**document, "later": 1}), command.Command)


def all_fields_set(type_: type[msgspec.Struct], document: dict[str, Any]) -> bool:
    return {field.encode_name for field in msgspec.structs.fields(type_)} <= document.keys()
