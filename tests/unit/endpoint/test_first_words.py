"""What somebody reads who does something for the first time: each text names the next thing to do."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agents.contracts.command import Verb
from agents.contracts.wipe import Target
from agents.core.command_rules import RULES, Signer
from agents.core.errors import Rejected
from cloud_endpoint import keyfile
from cloud_endpoint.cli.__main__ import build_parser
from cloud_endpoint.cli.command import asked
from cloud_endpoint.cli.commands import device_ship
from edge_commander.wipe import dry_run


def helped(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        build_parser().parse_args([*words, "--help"])
    return capsys.readouterr().out


def test_help_says_of_each_verb_what_it_is_for_with_targets_args_and_an_example(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask, sign = helped("command", "ask", capsys=capsys), helped("command", "sign", capsys=capsys)
    for verb in Verb:
        ours, theirs = (ask, sign) if RULES[verb].signer is Signer.ENDPOINT else (sign, ask)
        assert f"\n  {verb.value} " in ours, verb
        assert f"\n  {verb.value} " not in theirs and verb.value in theirs, verb
        for name in set(RULES[verb].args) - {"reason"}:
            assert f"--arg {name}=..." in ours, (verb, name)
    for target in Target:
        assert f"\n  {target.value} (" in sign
    for text, example in ((ask, "galley command ask reboot n-"), (sign, "galley command sign wipe n-")):
        assert example in text
    top = " ".join(helped(capsys=capsys).split())
    assert "`ask` has the endpoint sign what needs no operator" in top


def test_the_examples_of_the_help_are_command_lines_that_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        line.split("      (")[0].split()[1:]
        for words in (("command", "ask"), ("command", "sign"))
        for line in helped(*words, capsys=capsys).splitlines()
        if line.startswith("  galley command ")
    ]
    assert len(lines) == 5
    for line in lines:
        found = build_parser().parse_args(" ".join(line).replace("'", "").replace("fan replaced", "fan").split())
        if getattr(found, "verb", None):
            wanted, problems = asked.read(
                found.verb, found.node, found.site, targets=getattr(found, "target", ()), args=found.arg
            )
            assert wanted is not None and not problems


def test_what_is_no_node_and_what_has_no_challenge_names_the_next_thing_to_do() -> None:
    for nodes in (["kitchen-1"], []):
        _, problems = asked.read("sync", nodes, "")
        assert any("galley node list" in one for one in problems)
    assert "galley command status NODE --wait" in asked.NO_CHALLENGE


class Endpoint:
    async def call(self, method: str, path: str, body: Any) -> Any:
        return {"line": {"node": "n-" + "a" * 16}, "code": "code"}


async def test_a_device_that_is_shipped_without_a_key_is_said_to_be_unsigned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["device", "ship", "NUC-1", "--site", "store-1", "--name", "kitchen-1"]
    options = build_parser().parse_args(words)
    await device_ship(Endpoint(), options)  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert "not signed" in said
    assert "galley device sign NUC-1 --site store-1 --name kitchen-1 --key KEY" in said
    sign = build_parser().parse_args(said.splitlines()[-1].split()[1:])
    assert isinstance(sign, argparse.Namespace) and sign.hardware_id == "NUC-1"


@pytest.mark.parametrize("passphrase", ["", "a passphrase"])
def test_an_openssh_key_is_named_as_the_agent_names_it(tmp_path: Path, passphrase: str) -> None:
    key = tmp_path / "ann key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(key)], check=True)
    listed = subprocess.run(["ssh-keygen", "-lf", str(key)], check=True, capture_output=True, text=True).stdout
    with pytest.raises(Rejected, match="no private JWK") as refused:
        keyfile.load(key)
    assert f"`ssh-add '{key}'`, then --key ssh-agent:{listed.split()[1]}" in str(refused.value)
    with pytest.raises(Rejected, match="public key of ssh"):
        keyfile.load(key.with_suffix(".pub"))


OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----\n%s\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (OPENSSH % b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmU=", "cannot be read; make one"),
        (OPENSSH % b"!", "cannot be read; make one"),
        (b"-----BEGIN PRIVATE KEY-----\nMC4\n-----END PRIVATE KEY-----\n", "in PEM, which is not read here"),
        (b"-----BEGIN EC PRIVATE KEY-----\nMC4\n-----END EC PRIVATE KEY-----\n", "in PEM, which is not read here"),
        (b"-----BEGIN CERTIFICATE-----\nMC4\n", "a certificate, not a key"),
        (b"{}", "holds no private JWK (JSON) on P-256 or Ed25519"),
    ],
)
def test_other_keys_are_told_what_they_are(tmp_path: Path, data: bytes, words: str) -> None:
    key = tmp_path / "key"
    key.write_bytes(data)
    key.chmod(0o600)
    with pytest.raises(Rejected) as refused:
        keyfile.load(key)
    assert words in str(refused.value) and "MC4" not in str(refused.value)


def test_an_ssh_key_of_another_kind_is_told_to_be_one(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(key)], check=True)
    with pytest.raises(Rejected, match="of kind ecdsa-sha2-nistp256, and only Ed25519 signs here"):
        keyfile.load(key)


def test_a_dry_run_without_the_partitions_says_where_they_are_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "galley.yaml"
    config.write_text(f"{{v: 1, edge_commander: {{wipe: {{var: {tmp_path}/none}}}}}}")
    assert dry_run.main(["--dry-run", "--config", str(config), "var"]) == 4
    said = capsys.readouterr().err
    assert f"var is looked for at {tmp_path}/none" in said and "edge_commander.wipe.var" in said
