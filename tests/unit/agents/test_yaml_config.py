"""Reading the project's own YAML strictly, and finding the configuration's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.core.errors import ConfigError, Rejected
from agents.io import yamlfile
from agents.io.config import load


class Own(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    n: int = 0
    text: str = ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 22:22", "22:22"),
        ("a: on", "on"),
        ("a: 2026-01-01", "2026-01-01"),
        ("a: 010", 10),
        ("a: 0x1F", 31),
        ("a: 0o17", 15),
        ("a: -5", -5),
        ("a: 1e3", 1000.0),
        ("a: 1.5", 1.5),
        ("a: ~", None),
        ("a:", None),
        ("a: true", True),
        ("a: 'true'", "true"),
        ("a: 1_000", "1_000"),
        ("a: \ufeffx", "\ufeffx"),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    found = yamlfile.parse(text, "f")["a"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "duplicate key 'a'"),
        ("a:\n  b: 1\n  b: 2\n", 3, "duplicate key 'b'"),
        ("a: &x 1\nb: *x\n", 2, "aliases are refused"),
        ("a: [1\nb: 2\n", 2, "expected"),
        ("a: 1\n---\nb: 2\n", 2, "but found another document"),
        ("1: a\n", 1, "a key must be text"),
        ("? [a]\n: b\n", 1, "a key must be text"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, "could not determine a constructor"),
        ("a:\n\t- b\n", 2, "cannot start any token"),
    ],
)
def test_bad_yaml_is_refused_with_file_and_line(text: str, line: int, cause: str) -> None:
    with pytest.raises(Rejected) as caught:
        yamlfile.parse(text, "galley.yaml")
    assert str(caught.value).startswith(f"galley.yaml:{line}: ") and cause in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "!!bool maybe",
        "!!timestamp x",
        '!!float ""',
        '!!int ""',
        "!!map [a]",
        '"\\ud800"',
        "[a, '\\ud800', \"\\udfff\"]",
    ],
)
def test_what_no_constructor_can_read_is_refused_and_no_crash(value: str) -> None:
    with pytest.raises(Rejected, match=r"^f:(1:)? ") as raised:
        yamlfile.parse(f"a: {value}\n", "f")
    assert "maybe" not in str(raised.value)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a: \x00", b"[" * 100_000, b"a: 0o9z\n\x01"])
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(Rejected, match=r"^f"):
        yamlfile.parse(data, "f")


def test_a_bomb_is_refused_at_once() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(9)
    )
    with pytest.raises(Rejected, match="aliases are refused"):
        yamlfile.parse(bomb, "f")


def test_a_large_a_missing_and_an_unreadable_file_are_named(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (yamlfile.MAX_BYTES + 1))
    for path, cause in [(large, "larger than"), (tmp_path / "none", "No such file"), (tmp_path, "Is a directory")]:
        with pytest.raises(Rejected) as caught:
            yamlfile.read(path)
        assert str(path) in str(caught.value) and cause in str(caught.value)


def test_the_files_in_order_then_the_environment(tmp_path: Path) -> None:
    (tmp_path / "galley.d").mkdir()
    (tmp_path / "galley.yaml").write_text("v: 1\nvessel: {n: 1, text: base}\n")
    (tmp_path / "galley.d/20.yaml").write_text("vessel: {n: 3}\n")
    (tmp_path / "galley.d/10.yaml").write_text("vessel: {n: 2, text: ten}\n")
    (tmp_path / "galley.d/README").write_text("not: [yaml")
    assert load("vessel", Own, environ={}, root=tmp_path).own == Own(n=3, text="ten")
    assert load("vessel", Own, environ={"GALLEY_VESSEL__N": "4"}, root=tmp_path).own == Own(n=4, text="ten")
    only = tmp_path / "own.yaml"
    only.write_text("v: 1\n")
    assert load("vessel", Own, only, environ={"GALLEY_VESSEL__N": "4"}, root=tmp_path).own == Own(n=4)


def test_every_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "galley.d").mkdir()
    (tmp_path / "galley.d/10.yaml").write_text("a: [")
    with pytest.raises(ConfigError) as caught:
        load("vessel", Own, environ={}, root=tmp_path)
    missing, broken = caught.value.problems
    assert (
        "galley.yaml: there is no such file: make it" in missing and "--config FILE" in missing and "10.yaml:" in broken
    )


def test_relative_directories_come_out_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "galley.yaml").write_text("v: 1\nnode: {state_dir: state, run_dir: ./run/../run}\n")
    node = load("vessel", Own, Path("galley.yaml"), environ={}).node
    assert (node.state_dir, node.run_dir) == (str(tmp_path / "state"), str(tmp_path / "run"))
