"""Commands of version 1 are understood for ever: stored documents, signatures and all."""

import json
from pathlib import Path

import pytest

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.command import Command, CommandsAnswer, SignedCommand, Verb
from agents.contracts.messages import Body, Challenge
from agents.core.command_verify import CommandKeys, CommandRefused, verify_command
from agents.core.jose import thumbprint

GOLDEN = Path(__file__).parents[1] / "golden" / "v1"
DOCUMENTS = {
    "command-sync.json": Command,
    "command-wipe.json": Command,
    "command-signed-sync.json": SignedCommand,
    "command-signed-wipe.json": SignedCommand,
    "commands-answer.json": CommandsAnswer,
    "challenge.json": Challenge,
}
NODE, SITE, CHALLENGE = "n-abcdefghij234567", "store-01234", "q83vEjRWeJC6mHZUMhDerw"


def keys() -> CommandKeys:
    stored = json.loads((GOLDEN / "command-keys.json").read_text())
    return CommandKeys(
        operators={thumbprint(key): key for key in stored["operators"]},
        endpoint={thumbprint(key): key for key in stored["endpoint"]},
    )


@pytest.mark.parametrize(("name", "type_"), DOCUMENTS.items())
def test_reads_and_writes_the_same(name: str, type_: type) -> None:
    text = (GOLDEN / name).read_text()
    assert json.loads(encode(decode(text, type_))) == json.loads(text)


def test_challenge_is_a_message_body() -> None:
    assert isinstance(decode((GOLDEN / "challenge.json").read_text(), Body), Challenge)


@pytest.mark.parametrize(("name", "needed"), [("command-signed-sync.json", 1), ("command-signed-wipe.json", 2)])
def test_stored_signatures_verify(name: str, needed: int) -> None:
    signed = decode((GOLDEN / name).read_text(), SignedCommand)
    plain = decode((GOLDEN / name.replace("-signed", "")).read_text(), Command)
    command = verify_command(
        signed, keys(), site=SITE, node=NODE, now=1893456001, after=6,
        challenges=frozenset({CHALLENGE}), operators_needed=needed,
    )  # fmt: skip
    assert command == plain


def test_the_endpoints_key_alone_cannot_wipe() -> None:
    signed = decode((GOLDEN / "command-signed-wipe.json").read_text(), SignedCommand)
    with pytest.raises(CommandRefused) as refused:
        verify_command(
            signed, CommandKeys(endpoint=keys().endpoint), site=SITE, node=NODE, now=1893456001, after=0,
            challenges=frozenset({CHALLENGE}),
        )  # fmt: skip
    assert refused.value.code == "signature"


def test_every_verb_is_one_of_the_closed_list() -> None:
    document = json.loads((GOLDEN / "command-sync.json").read_text())
    for verb in Verb:
        assert decode(json.dumps({**document, "verb": verb.value}), Command).verb is verb
    with pytest.raises(ContractError):
        decode(json.dumps({**document, "verb": "shell"}), Command)
    with pytest.raises(ContractError):
        decode(json.dumps({**document, "device": "/dev/sda"}), Command)
