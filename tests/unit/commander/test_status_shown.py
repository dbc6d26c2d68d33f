"""What a person sees of a node: golden texts, the console's screen, and advice for every reason."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.contracts.messages import NodeState
from edge_commander.advice import ADVICE, NONE, STATES, advice
from edge_commander.console.screen import HEIGHT, WIDTH, lines
from edge_commander.console.terminal import DRAW_SECONDS, DRAWING_SECONDS, Drawn, console
from edge_commander.console.view import Seen
from edge_commander.console.view import view as seen_as
from edge_commander.ledger import Past
from edge_commander.reasons import NodeRecord, Reason, Why
from edge_commander.shown import as_text
from edge_commander.surroundings import wipe_view
from edge_commander.view import (
    Around,
    ClockView,
    DiskView,
    InHand,
    MemberView,
    StatusDocument,
    WipedTarget,
    WipeView,
    of_record,
)

NOW = 1_800_000_000_000
GOLDEN = Path(__file__).parents[2] / "contract" / "golden" / "status"

AROUND = Around(
    name="kitchen-1",
    members=[
        MemberView(name="kitchen-1", ready=True, server=True, version="v1.36.2"),
        MemberView(name="kitchen-2", ready=False, server=True, version="v1.36.2"),
        MemberView(name="kitchen-3", ready=True, server=False, version="v1.36.2"),
    ],
    clock=ClockView(now=NOW, confirmed=True),
    disks=[
        DiskView(name="ident", path="/i", free=50_000_000, size=60_000_000),
        DiskView(name="var", path="/v", free=120_500_000_000, size=240_000_000_000),
    ],
)


def document(**changed: Any) -> StatusDocument:
    fields: dict[str, Any] = {
        "state": NodeState.READY, "reason": "", "since": NOW - 90_000_000, "node": "n-abcdefghij234567",
        "site": "store-01234", "around": AROUND,
    }  # fmt: skip
    return StatusDocument(**{**fields, **changed})


def test_what_nothing_has_happened_to_is_not_so_since_1970() -> None:
    said = as_text(document(state=NodeState.FACTORY, since=0), running=True, now_ms=NOW)
    assert "since" not in said and "1970" not in said


CASES: dict[str, StatusDocument | None] = {
    "factory": StatusDocument(
        state=NodeState.ENROLLING, reason=Why.APPROVAL.value, since=NOW - 200_000, node="n-abcdefghij234567", site=None
    ),
    "ready": document(
        past=[
            Past(id="a" * 32, verb="sync", outcome="done", detail="Vessel was told to look at its Atlas", at=NOW),
            Past(id="b" * 32, verb="reboot", outcome="refused", detail="the cluster would lose it", at=NOW - 5000),
        ],
        pending=3,
    ),
    "rejoining": document(
        state=NodeState.FORMING, reason=f"{Why.TURN.value}: kitchen-2 is joining", since=NOW - 61_000,
        command=InHand(id="c" * 32, verb="rejoin", issued=NOW // 1000 - 120),
    ),
    "wiping": document(
        state=NodeState.WIPING,
        command=InHand(id="d" * 32, verb="wipe", issued=NOW // 1000 - 60),
        around=msgspec.structs.replace(
            AROUND, members=[],
            wipe=WipeView(
                id="d" * 32, phase="running", attempts=2, problem="/dev/vda7: Input/output error",
                targets=[
                    WipedTarget(name="conf", stage="done", done=100),
                    WipedTarget(name="var", stage="erase", done=42),
                ],
            ),
        ),
    ),
    "silent": None,
}  # fmt: skip


def screen(document: StatusDocument | None, **more: Any) -> list[str]:
    return lines(seen_as(Seen(document=document, now_ms=NOW, **more)))


@pytest.mark.parametrize("name", CASES)
def test_the_console_shows_what_it_always_showed(name: str) -> None:
    shown = screen(CASES[name], version="1.2.0")
    assert "\n".join(shown) + "\n" == (GOLDEN / f"{name}.console.txt").read_text()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case is not None])
def test_the_text_shows_what_it_always_showed(name: str) -> None:
    case = CASES[name]
    assert case is not None
    text = as_text(case, running=True, now_ms=NOW, version="1.2.0")
    assert text + "\n" == (GOLDEN / f"{name}.text.txt").read_text()


def test_every_reason_has_advice_and_none_is_left_unfilled() -> None:
    assert set(ADVICE) == set(Why) - {Why.NONE}
    for why in ADVICE:
        found = advice(document(reason=Reason(why, "a detail").text), "/srv/other.yaml")
        assert found.desk == ADVICE[why].desk.replace("{config}", "/srv/other.yaml") and "{" not in found.desk
        assert found.here == ADVICE[why].here


def test_who_stands_at_the_machine_is_asked_for_nothing_that_needs_a_login() -> None:
    """And can do it: look at cables and power, put a stick in, wait, call; in words of no trade, and not many."""
    trade = (
        "kubectl",
        "journalctl",
        "endpoint",
        "roster",
        "epoch",
        "cluster",
        "API",
        "DHCP",
        "NTP",
        "TPM",
        "{",
        "/",
    )
    for why, found in ADVICE.items():
        known = [word for word in trade if word in found.here and why is not Why.CONFIG]
        assert not known, (why, known)
        assert 10 < len(found.here) <= 120 and not found.here.endswith("."), why
        begins = ("see that", "wait", "call", "leave", "switch", "put", "nothing", "this disk")
        assert found.here.startswith(begins), why


def test_advice_is_the_longest_reasons_and_else_the_states() -> None:
    assert advice(document(reason=Why.WIPE_FAILED.value)) == ADVICE[Why.WIPE_FAILED]
    assert advice(document()) == NONE
    for state, text in STATES.items():
        assert advice(document(state=state)) == text


def test_the_configuration_that_was_named_is_the_one_that_advice_names() -> None:
    told = as_text(document(reason=Why.CONFIG.value), running=True, now_ms=NOW, config="/srv/node.yaml")
    assert "/srv/node.yaml" in told and "/etc/galley" not in told


def test_no_line_is_wider_and_no_screen_higher_than_the_console() -> None:
    long = document(
        reason=f"{Why.DISTRIBUTION.value}: {'x' * 300} {'word ' * 60}",
        command=InHand(id="c" * 32, verb="collect-diagnostics", issued=1),
        past=[Past(id=f"{i:032x}", verb="snapshot", outcome="failed", detail="y z " * 75, at=NOW) for i in range(8)],
        around=msgspec.structs.replace(
            AROUND, members=[MemberView(name=f"a-very-long-name-{i}", ready=True, server=True) for i in range(9)],
            wipe=WipeView(id="d" * 32, phase="failed", problem="p " * 200),
        ),
    )  # fmt: skip
    shown = screen(long, version="1.2.0")
    assert len(shown) <= HEIGHT and max(map(len, shown)) <= WIDTH
    assert any(line.startswith("do now") for line in shown)


def test_what_others_say_moves_no_cursor() -> None:
    evil = document(reason=f"{Why.TURN.value}: \x1b[2J\x07\u202enuc")
    assert all(line.isprintable() for line in screen(evil) if line)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_drawn_anew_until_it_is_ended_and_whole_every_ten_seconds() -> None:
    out, naps, drawn = Terminal(), list[float](), list[str]()

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        drawn.append(out.getvalue()[len("".join(drawn)) :])
        if len(naps) == 7:
            raise KeyboardInterrupt

    def look() -> Seen:
        return Seen(document=document(), now_ms=NOW + 1000 * len(naps))

    assert console(look, out, sleep=sleep, draw=lambda _: []) == 0
    assert naps == [DRAW_SECONDS] * 7
    assert [one.count("\x1b[H") for one in drawn] == [1, 0, 0, 0, 0, 1, 0] and "\x1b[2J" not in out.getvalue()
    assert [len(one.removeprefix("\x1b[?25l\x1b[H").split("\n")) for one in (drawn[0], drawn[5])] == [25, 25]
    # In between only what is another: the time, in the first row.
    assert all(re.fullmatch(r"\x1b\[\?25l\x1b\[1;1H[^\x1b\n]{80}", one) for one in drawn[1:5])


def test_a_code_that_cannot_be_drawn_leaves_the_screen_and_is_tried_again_a_minute_later() -> None:
    now, asked = [0.0], list[str]()

    class Trial(Drawn):
        def _draw(self, text: str) -> list[str]:
            asked.append(text)
            return [] if now[0] < 1 else [text]

    drawn = Trial(lambda: now[0])
    assert [drawn("a"), drawn("a")] == [[], []] and asked == ["a"]
    now[0] = DRAWING_SECONDS
    assert [drawn("a"), drawn("a"), drawn("b")] == [["a"], ["a"], ["b"]] and asked == ["a", "a", "b"]


def test_what_is_no_terminal_gets_one_screen_and_no_control_character() -> None:
    out = io.StringIO()
    assert console(lambda: Seen(document=document(), now_ms=NOW), out, draw=lambda _: []) == 0
    assert "\x1b" not in out.getvalue() and out.getvalue().count("n-abcdefghij234567") == 1


def test_an_older_commanders_answer_is_understood() -> None:
    old = b'{"v":1,"state":"ready","reason":"","since":1,"node":null,"site":null,"pending":0,"consumed":4}'
    assert msgspec.json.decode(old, type=StatusDocument).around == Around()
    assert of_record(NodeRecord()).past == []


@pytest.mark.parametrize("record", [None, [], {}, {"id": "a", "phase": "armed", "targets": [{"target": "var"}]}])
def test_a_journals_record_that_is_not_understood_is_none(record: object) -> None:
    assert wipe_view(record) is None


@pytest.mark.parametrize("ms", [2**53 - 1, -(10**14), 10**30])
def test_a_time_that_cannot_be_is_shown_as_it_is(ms: int) -> None:
    """The endpoint names the time; a stolen one would take the screen away, and `since` keeps it on disk."""
    around = Around(clock=ClockView(now=ms, confirmed=True))
    document = StatusDocument(state=NodeState.READY, reason="", since=ms, node="n", site="s", around=around)
    assert f"clock    no time ({ms} ms)" in as_text(document, running=True, now_ms=NOW)
    rows = lines(seen_as(Seen(document=document, now_ms=NOW)))
    assert any(row.startswith(f"clock    no time ({ms} ms)") for row in rows)


def test_how_far_a_wipe_is_comes_out_of_the_journal() -> None:
    found = wipe_view(
        {
            "id": "a" * 32, "phase": "running", "attempts": 1,
            "targets": [
                {"target": "conf", "stage": "done", "area": 0, "offset": 0},
                {"target": "var", "stage": "erase", "area": 1000, "offset": 425},
                {"target": "keep", "stage": "erase", "area": 0, "offset": 0},
            ],
        }
    )  # fmt: skip
    assert found is not None and [(one.name, one.done) for one in found.targets] == [
        ("conf", 100),
        ("var", 42),
        ("keep", 0),
    ]


def test_what_others_say_steers_no_terminal() -> None:
    """The answer of an endpoint becomes a reason; of the text, `edge-commander status` printed it as it came."""
    past = [Past(id="a" * 32, verb="sync", outcome="refused", detail="\x1b]0;title\x07", at=NOW)]
    document = StatusDocument(
        state=NodeState.ENROLLING, reason="waiting: \x1b[2Jevil\r\nstate    ready", since=NOW, node="n", site="\x9b2J",
        past=past,
    )  # fmt: skip
    text = as_text(document, running=True, now_ms=NOW)
    assert all(row.isprintable() for row in text.split("\n"))
    assert "reason   waiting: ?[2Jevil??state    ready" in text and "\nstate    ready" not in text
