"""What `edge-commander --check-config` finds beyond types: the operators' keys must be there and good."""

import json
from pathlib import Path

import pytest

from agents.core.jose import SoftwareKey
from agents.core.settings import Settings, build
from edge_commander.__main__ import check
from edge_commander.operators import MAX_BYTES
from edge_commander.settings import CommanderSettings


def settings(**own: object) -> Settings[CommanderSettings]:
    return build([("galley.yaml", {"v": 1, "edge_commander": own})], {}, "edge_commander", CommanderSettings)


def test_a_missing_operators_file_is_named_with_its_setting(tmp_path: Path) -> None:
    (found,) = check(settings(operators_file=str(tmp_path / "none.json")))
    assert found.startswith(f"edge_commander.operators_file: {tmp_path / 'none.json'}: cannot be read")


@pytest.mark.parametrize("text", ["{", '{"v": 2, "operators": []}', '{"v": 1, "operators": [{"kty": "EC"}]}'])
def test_a_bad_operators_file_is_named_with_its_setting(tmp_path: Path, text: str) -> None:
    (tmp_path / "operators.json").write_text(text)
    (found,) = check(settings(operators_file=str(tmp_path / "operators.json")))
    assert found.startswith("edge_commander.operators_file: ")


@pytest.mark.parametrize("setting", ["operators_file", "roster_keys_file"])
def test_a_file_that_never_ends_is_refused_and_not_read(tmp_path: Path, setting: str) -> None:
    """A stick may name /dev/zero."""
    with (tmp_path / "keys.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    (found,) = check(settings(**{setting: str(tmp_path / "keys.json")}))
    assert found == f"edge_commander.{setting}: {tmp_path / 'keys.json'}: is larger than 1048576 bytes"
    assert "/dev/zero: is larger" in check(settings(**{setting: "/dev/zero"}))[0]


def test_a_policy_that_asks_for_operators_needs_their_file_and_pinned_keys_must_be_good(tmp_path: Path) -> None:
    assert check(settings(trust="operators")) == ["edge_commander.trust: `operators` needs operators_file"]
    assert check(settings(trust="endpoint")) == []
    (tmp_path / "roster.json").write_text(json.dumps(SoftwareKey.generate("Ed25519").public))
    (found,) = check(settings(roster_keys_file=str(tmp_path / "roster.json")))
    assert found == f"edge_commander.roster_keys_file: {tmp_path / 'roster.json'}: a roster key must be on P-256"
    (tmp_path / "roster.json").write_text(json.dumps(SoftwareKey.generate().public))
    assert check(settings(roster_keys_file=str(tmp_path / "roster.json"))) == []


def test_good_keys_pass_and_what_may_come_late_is_no_problem(tmp_path: Path) -> None:
    document = {"v": 1, "operators": [SoftwareKey.generate("Ed25519").public]}
    (tmp_path / "operators.json").write_text(json.dumps(document))
    late = {"enrol_code_file": "/nonexistent/code", "distribution": {"kubeconfig": "/nonexistent/kubeconfig"}}
    assert check(settings(operators_file=str(tmp_path / "operators.json"), **late)) == []
