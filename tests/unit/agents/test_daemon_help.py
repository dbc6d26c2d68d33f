"""What a daemon's program says of its commands, in its help and on a word that it does not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from agents.supervise.daemon import DaemonSpec, run_daemon
from cloud_endpoint.__main__ import main as endpoint
from cloud_endpoint.local import COMMANDS as ENDPOINT
from edge_commander.__main__ import COMMANDS as COMMANDER
from edge_commander.__main__ import main as commander
from heartbeat.__main__ import build
from heartbeat.settings import HeartbeatSettings

Main = Callable[[Sequence[str]], int]
PROGRAMS = pytest.mark.parametrize(("main", "commands"), [(endpoint, ENDPOINT), (commander, COMMANDER)])


def said(main: Main, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    shown = capsys.readouterr()
    return ended.value.code, shown.out + shown.err


@PROGRAMS
def test_the_help_lists_every_command_and_each_has_one_of_its_own(
    main: Main, commands: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = said(main, capsys, "--help")
    assert status == 0
    for word, help_ in commands.items():
        assert any(line.split(maxsplit=1) == [word, help_] for line in text.splitlines()), text
        assert said(main, capsys, word, "--help")[0] == 0


@PROGRAMS
def test_an_unknown_word_is_answered_with_the_commands(
    main: Main, commands: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = said(main, capsys, "statsu")
    assert status == 2
    assert text.endswith(f"unrecognized arguments: statsu; the commands, which come first, are {', '.join(commands)}\n")


def test_a_daemon_without_commands_names_none(capsys: pytest.CaptureFixture[str]) -> None:
    spec = DaemonSpec("heartbeat", "heartbeat", HeartbeatSettings, build)

    def heartbeat(argv: Sequence[str]) -> int:
        return run_daemon(spec, argv)

    status, text = said(heartbeat, capsys, "statsu")
    assert (status, text.splitlines()[-1]) == (2, "heartbeat: error: unrecognized arguments: statsu")
    assert "command" not in said(heartbeat, capsys, "--help")[1]
