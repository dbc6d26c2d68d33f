"""`--help` says of every flag and name what it is, in words of who uses the program."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator

import pytest

from cloud_endpoint import local
from cloud_endpoint.cli.__main__ import build_parser


def arguments(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from arguments(one)
        else:
            yield f"{parser.prog} {action.option_strings or action.dest}", action


@pytest.mark.parametrize("parser", [build_parser(), local._parser("galley-endpoint")], ids=lambda one: one.prog)
def test_every_argument_has_one(parser: argparse.ArgumentParser) -> None:
    found = dict(arguments(parser))
    assert len(found) > 5
    assert not [name for name, action in found.items() if not action.help]


def test_every_key_that_may_lie_elsewhere_says_so() -> None:
    keys = {name: str(action.help) for name, action in arguments(build_parser()) if "['--key']" in name}
    assert len(keys) >= 8
    assert not [name for name, text in keys.items() if "ssh-agent:" not in text or "pkcs11:" not in text]


def test_where_signed_commands_go_is_said_for_both_ways() -> None:
    said = next(str(action.help) for name, action in arguments(build_parser()) if name == "galley command sign ['-o']")
    assert "new file" in said and "--add" in said


@pytest.mark.parametrize(
    ("module", "program"),
    [("console", "galley-console"), ("lan_page", "galley-lan-page"), ("discovery", "galley-discovery")],
)
def test_a_small_program_is_called_as_people_call_it(
    module: str, program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = importlib.import_module(f"edge_commander.{module}.__main__").main
    monkeypatch.setattr("sys.argv", [program, "--help"])
    with pytest.raises(SystemExit):
        main()
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"usage: {program} ")
    assert "edge_commander." not in said.replace("edge_commander.page", "") and "python -m" not in said
