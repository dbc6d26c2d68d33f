"""Each problem of a configuration names what it stands in; patterns that people meet are told in words."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import pytest

from agents.contracts.codec import WORDS, ContractError, decode
from agents.contracts.command import Command
from agents.contracts.identity import Role
from agents.contracts.ids import NodeId, Revision, SiteId
from agents.contracts.orders import Release
from agents.core.errors import ConfigError
from agents.core.settings import Listener, build
from agents.io.config import load


class Own(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    n: int = 1
    words: list[int] = []
    health: Listener = Listener()


def problems(root: Path, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load("vessel", Own, environ=environ, root=root)
    return [one.replace(f"{root}/", "") for one in caught.value.problems]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "galley.d").mkdir()
    (tmp_path / "galley.yaml").write_text("v: 1\nvessel: {n: one, health: {port: 1}}\nnode: {colour: red}\n")
    return tmp_path


def test_the_last_file_that_sets_it_is_named(root: Path) -> None:
    (root / "galley.d/10.yaml").write_text("vessel: {words: [1, two], health: {port: -1}}\n")
    (root / "galley.d/20.yaml").write_text("vessel: {health: {bind: 5}}\nsurprise: {}\n")
    assert problems(root) == [
        "galley.yaml:3: node.colour: unknown key",
        "galley.d/20.yaml:2: surprise: unknown section",
        "galley.d/20.yaml:1: vessel.health.bind: expected `str`, got `int`",
        "galley.d/10.yaml:1: vessel.health.port: expected `int` >= 0",
        "galley.yaml:2: vessel.n: expected `int`, got `str`",
        "galley.d/10.yaml:1: vessel.words[1]: expected `int`, got `str`",
    ]


def test_the_line_is_its_own_or_of_what_is_to_hold_it(root: Path) -> None:
    (root / "galley.yaml").write_text(
        "v: 1\nendpoint:\n  urls: [x]\nvessel:\n  words:\n    - 1\n    - two\n  health:\n    colour: red\n"
    )
    assert problems(root) == [
        "galley.yaml:2: endpoint.issuer: is required",
        "galley.yaml:9: vessel.health.colour: unknown key",
        "galley.yaml:7: vessel.words[1]: expected `int`, got `str`",
    ]


def test_a_closed_list_of_words_is_told(root: Path) -> None:
    class Kinds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        kind: Literal["existing", "kubeadm", "k3s"] = "existing"
        roles: list[Role] | None = None

    with pytest.raises(ConfigError) as caught:
        build([("f", {"v": 1, "vessel": {"kind": "kubeadmin", "roles": ["cook"]}})], {}, "vessel", Kinds)
    assert caught.value.problems == [
        "vessel.kind: must be one of existing, kubeadm, k3s",
        f"vessel.roles[0]: must be one of {', '.join(Role)}",
    ]


def test_a_variable_that_sets_it_is_named(root: Path) -> None:
    found = problems(root, GALLEY_VESSEL__N="two", GALLEY_NOTHING="1")
    assert "GALLEY_VESSEL__N: vessel.n: expected `int`, got `str`" in found
    assert "GALLEY_NOTHING: names no setting" in found


def test_what_is_missing_everywhere_is_told_of_the_first_file(root: Path) -> None:
    (root / "galley.yaml").write_text("vessel: {}\n")
    (root / "galley.d/10.yaml").write_text("node: {}\n")
    assert problems(root) == ["galley.yaml: v: is required (1)"]


def test_where_no_file_is_needed_none_must_be_there_and_one_that_was_named_must(tmp_path: Path) -> None:
    assert load("vessel", Own, environ={}, root=tmp_path, needed=False).own == Own()
    with pytest.raises(ConfigError, match=r"there is no such file: make it .*, or name another with --config FILE"):
        load("vessel", Own, environ={}, root=tmp_path)
    with pytest.raises(ConfigError, match="there is no such file: --config FILE must name"):
        load("vessel", Own, tmp_path / "named.yaml", environ={}, needed=False)


@pytest.mark.parametrize("type_", [SiteId, NodeId, Revision, Release])
def test_a_wrong_name_is_told_in_words(type_: object) -> None:
    with pytest.raises(ContractError) as caught:
        decode(b'"No Such"', type_)  # type: ignore[arg-type]
    assert "regex" not in str(caught.value) and any(words in str(caught.value) for words in WORDS.values())


def test_the_place_in_the_document_stays() -> None:
    with pytest.raises(ContractError, match=r"must be a site's id.* - at `\$\.site`"):
        decode(b'{"id": "%s", "verb": "sync", "site": "A b"}' % (b"a" * 32), Command)


def test_a_commands_id_is_told_in_words() -> None:
    with pytest.raises(ContractError, match=r"must be a command's id.* - at `\$\.id`"):
        decode(b'{"id": "x"}', Command)
