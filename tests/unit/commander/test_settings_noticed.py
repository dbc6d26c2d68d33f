"""What was wrong with a medium stays for the console to show, until a good one, or nothing wrong, is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_commander.console.look import MEDIUM, notices
from edge_commander.machine_settings import apply


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """(What is noticed, a stick)."""
    monkeypatch.setattr(apply, "ETC", tmp_path / "etc")
    monkeypatch.setattr(apply, "NOTICES", tmp_path / "run/settings")
    (tmp_path / "stick").mkdir()
    return tmp_path / "run/settings", tmp_path / "stick"


def test_the_console_looks_where_it_is_left() -> None:
    assert apply.NOTICES == MEDIUM


def test_what_is_wrong_stays_until_it_is_right(places: tuple[Path, Path]) -> None:
    noticed, stick = places
    arguments = [str(stick), "--name", "the stick", "--restart"]
    assert apply.main(arguments) == 0
    assert notices(noticed) == ("the stick: there is no galley.yaml on it",)
    (stick / "galley.yaml").write_text("v: 1\nnode: [\n")
    assert apply.main(arguments) == 78
    found = notices(noticed)
    assert len(found) >= 1 and found[0].startswith("the stick: galley.yaml:")
    assert noticed.stat().st_mode & 0o777 == 0o644
    (stick / "galley.yaml").write_text("v: 1\n")
    (apply.ETC / "galley").mkdir(parents=True)
    (apply.ETC / "galley/galley.yaml").write_text("v: 1\n")
    assert apply.main(arguments) == 0  # it is in force already
    assert notices(noticed) == ()


def test_an_esp_without_settings_is_no_notice_as_the_state_says_it(places: tuple[Path, Path]) -> None:
    noticed, esp = places
    assert apply.main([str(esp), "--name", "the esp"]) == 0
    assert notices(noticed) == ()


def test_what_a_stick_holds_neither_commands_the_console_nor_fills_it(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    noticed, stick = places
    odd = [
        "\x1b[2J\ngalley: the stick: taken over: unknown section",
        *(f"k{one}: unknown section" for one in range(5000)),
    ]
    monkeypatch.setattr(apply, "_daemons_say", lambda found: odd)
    (stick / "galley.yaml").write_text("v: 1\n")
    assert apply.main([str(stick), "--name", "the stick"]) == 78
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 102 and all(line.startswith("galley: the stick: ") and line.isprintable() for line in said)
    assert said[-2:] == [
        "galley: the stick: and 4901 more",
        "galley: the stick: 5001 problems; nothing of it is taken over",
    ]
    assert len(notices(noticed)) == 101


def test_a_stick_steers_no_console(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is said goes to the machine's console as it is; a key of a YAML file may hold anything. A line a problem."""
    noticed, stick = places
    monkeypatch.setattr(apply, "_daemons_say", lambda found: [])
    (stick / "galley.yaml").write_text(r"""{v: 1, machine: {"\e[2J\e]0;x\a\r\nall is well": 1}}""")
    assert apply.main([str(stick), "--name", "the stick"]) == 78
    said = capsys.readouterr().err.rstrip("\n").split("\n")
    assert len(said) == 2 and all(line.isprintable() for line in said)
    assert len(notices(noticed)) == 1 and notices(noticed)[0].isprintable()


def test_a_notice_that_cannot_be_read_is_said_and_is_not_as_if_there_were_none(tmp_path: Path) -> None:
    file = tmp_path / "settings"
    assert notices(file) == ()
    file.mkdir()  # nobody may read that, whoever runs this
    assert notices(file) == (f"{file}: cannot be read: Is a directory",)
