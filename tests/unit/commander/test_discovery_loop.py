"""The discovery process's turns: it follows the machine's addresses, and goes on whatever does not work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.contracts.ids import node_id
from agents.core.errors import Rejected, Retryable
from agents.core.ports import MachineFacts
from edge_commander.discovery import __main__ as discovery
from edge_commander.discovery.interfaces import Lan

OTHER = node_id("nuc-b")
ONE, TWO = Lan(("10.0.0.1",), ("10.0.0.1",)), Lan(("10.0.0.7",), ("10.0.0.7",))


class Machine:
    def __init__(self) -> None:
        self.known = True

    def facts(self) -> MachineFacts:
        if not self.known:
            raise Rejected("the hardware names itself nowhere")
        return MachineFacts(hardware_id="nuc-a", serial="", boot_id="b", hostname="h", hardware="NUC")


class Voice:
    """What the loop asks of a voice; `made` keeps all."""

    made: list[Voice] = []
    taken = False

    def __init__(self, node: str, port: int, lan: Lan, heard: Callable[[str, str], None]) -> None:
        self.node, self.lan, self.heard = node, lan, heard
        self.asked, self.open_, self.works = 0, False, True
        Voice.made.append(self)

    async def open(self) -> None:
        if Voice.taken:
            raise Retryable("UDP port 5353: in use")
        self.open_ = True

    def ask(self) -> None:
        self.asked += 1

    async def aclose(self) -> None:
        self.open_ = False


class Log:
    def __init__(self) -> None:
        self.states: list[str] = []

    def info(self, event: str, **fields: Any) -> None:
        self.states.append(fields["state"])


class Bench:
    def __init__(self, out: Path) -> None:
        self.machine, self.log, self.lan, self.out = Machine(), Log(), ONE, out
        self.loop = discovery.Discovery(self.machine, 9411, out, lambda: self.lan, self.log)  # type: ignore[arg-type]

    def hints(self) -> list[tuple[str, str]]:
        return [(one["node"], one["address"]) for one in json.loads(self.out.read_bytes())["hints"]]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    Voice.made, Voice.taken = [], False
    monkeypatch.setattr(discovery, "Voice", Voice)
    return Bench(tmp_path / "hints.json")


async def test_announces_asks_once_and_writes_what_it_heard_of_others(bench: Bench) -> None:
    await bench.loop.turn()
    await bench.loop.turn()
    [voice] = Voice.made
    assert (voice.node, voice.lan, voice.asked) == (node_id("nuc-a"), ONE, 1)
    voice.heard(OTHER, "10.0.0.2")
    voice.heard(node_id("nuc-a"), "10.0.0.66")  # somebody announces this very node
    await bench.loop.turn()
    assert bench.hints() == [(OTHER, "10.0.0.2")] and bench.log.states == ["announces and listens"]


async def test_another_address_is_another_voice(bench: Bench) -> None:
    await bench.loop.turn()
    bench.lan = TWO
    await bench.loop.turn()
    first, second = Voice.made
    assert not first.open_ and second.open_ and second.lan == TWO
    bench.lan = Lan()
    await bench.loop.turn()
    assert not second.open_ and bench.log.states[-1] == "there is no LAN"


async def test_a_voice_that_lost_a_socket_is_made_anew(bench: Bench) -> None:
    await bench.loop.turn()
    Voice.made[0].works = False
    await bench.loop.turn()
    assert [voice.open_ for voice in Voice.made] == [False, True]


async def test_a_port_that_is_taken_is_said_once_and_tried_again(bench: Bench) -> None:
    Voice.taken = True
    for _ in range(3):
        await bench.loop.turn()
    assert bench.log.states == ["does not run: UDP port 5353: in use"] and len(Voice.made) == 3
    Voice.taken = False
    await bench.loop.turn()
    assert bench.log.states[-1] == "announces and listens"


async def test_a_machine_that_is_not_known_yet_is_waited_for(bench: Bench) -> None:
    bench.machine.known = False
    await bench.loop.turn()
    assert Voice.made == [] and bench.log.states == ["does not run: the hardware names itself nowhere"]
    bench.machine.known = True
    await bench.loop.turn()
    assert len(Voice.made) == 1


async def test_a_file_that_cannot_be_written_ends_nothing(bench: Bench, tmp_path: Path) -> None:
    bench.out.mkdir()
    await bench.loop.turn()
    assert str(bench.out) in bench.log.states[0] and Voice.made[0].open_
    bench.out.rmdir()
    await bench.loop.turn()
    assert bench.hints() == []
