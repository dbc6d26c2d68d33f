"""The console's screen with its code: what fits beside it, what gives way, and what the code says."""

from __future__ import annotations

from unicodedata import combining, east_asian_width

import pytest

from agents.contracts.messages import NodeState
from edge_commander.advice import ADVICE
from edge_commander.console import qr
from edge_commander.console.screen import HEIGHT, MOST_WIDTH, WIDTH, lines
from edge_commander.console.view import NO_CABLE, PLUG_IN, Seen, View, view
from edge_commander.reasons import DETAIL_CHARS, Reason, Why
from edge_commander.view import Around, MemberView, StatusDocument

NOW = 1_800_000_000_000
NODE = "n-abcdefghij234567"
CODE = [chr(0x2588) * 41] * 21
"""As large as every code is."""


def seen(reason: str = "", *, document: bool = True, **more: object) -> View:
    around = Around(
        name="kitchen-1", members=[MemberView(name=f"kitchen-{i}", ready=True, server=True) for i in range(5)]
    )
    state = NodeState.FORMING if reason else NodeState.READY
    shown = StatusDocument(state=state, reason=reason, since=NOW - 9e6, node=NODE, site="store-01234", around=around)
    fields = {
        "now_ms": NOW, "version": "10.20.30", "serial": "GEXX12345678", "node": NODE,
        "addresses": ["192.168.100.100"], **more,
    }  # fmt: skip
    return view(Seen(document=shown if document else None, **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("why", ADVICE)
def test_every_reason_with_its_longest_detail_and_its_step_fits_beside_the_code(why: Why) -> None:
    found = seen(Reason(why, "detail " * 7).text)
    rows = lines(found, CODE)
    assert len(rows) <= HEIGHT and max(map(len, rows)) <= WIDTH
    assert [row[-41:] for row in rows[2:23]] == CODE
    beside = " ".join(row[9:38].strip() for row in rows[2:])
    assert ADVICE[why].here in beside and " ..." not in beside.partition(ADVICE[why].here)[0]
    assert NODE in beside and "GEXX12345678" in beside and "192.168.100.100" in beside


def test_a_detail_of_any_length_leaves_room_for_the_step() -> None:
    for detail in ("x" * DETAIL_CHARS, "a b " * 75):
        rows = lines(seen(Reason(Why.DISTRIBUTION, detail).text), CODE)
        assert any(row.startswith("do now") for row in rows) and max(map(len, rows)) <= WIDTH


def test_the_code_gives_way_to_problems_that_need_the_room() -> None:
    few = ["vda: cannot be partitioned (install)"]
    assert chr(0x2588) in "".join(lines(seen(document=False, early=few), CODE))
    many = [f"/etc/galley/galley.yaml: edge_commander.setting{i:02}: must be larger than zero" for i in range(11)]
    rows = lines(seen(document=False, problems=many), CODE)
    assert chr(0x2588) not in "".join(rows)
    assert all(any(f"setting{i:02}: must be larger than zero" in row for row in rows) for i in range(11))


def test_wide_and_combining_characters_take_one_column_each() -> None:
    """The kernel's console gives a wide one two columns: the row ran into the next, and the top of the screen went."""
    reason, problem = "\u5e97\u8217 \uff21\uff22 \U0001f600", "e\u0301: \u8a2d\u5b9a: unknown section"
    for code in (CODE, ()):
        rows = lines(seen(reason, early=[problem]), code)
        assert any("?? ?? ?" in row for row in rows) and any("e?: ??: unknown section" in row for row in rows)
        assert all(east_asian_width(one) not in "WF" and not combining(one) for row in rows for one in row)


def test_a_larger_screen_shows_more_and_a_smaller_one_is_taken_for_one_of_80_by_25() -> None:
    large = lines(seen(), CODE, width=240, height=67)
    assert max(map(len, large)) <= MOST_WIDTH and any("kitchen-4" in row for row in large)
    assert lines(seen(), CODE, width=0, height=0) == lines(seen(), CODE)


def test_the_code_says_what_the_desk_asks_first_within_its_size() -> None:
    text = qr.text(seen(Why.APPROVAL.value))
    assert text == f"Galley 10.20.30\n{NODE}\nGEXX12345678\n192.168.100.100\nforming approval"
    for why in Why:
        found = qr.text(seen(Reason(why, "\x1b[2J\u202e\n" + "z" * 300).text, serial="S" * 300))
        assert len(found) <= qr.MOST_CHARS and found.isascii() and NODE in found
        assert all(line.isprintable() for line in found.splitlines())


def test_a_node_without_a_cable_is_told_so_first() -> None:
    found = seen(Why.ENDPOINT.value, addresses=[], cable=False)
    assert found.address == NO_CABLE and found.here.startswith(PLUG_IN)
    assert seen("", addresses=[], cable=False).here == PLUG_IN
    assert not seen("", addresses=[], cable=True).here


def test_a_node_to_which_nothing_has_happened_yet_is_not_called_decades_old() -> None:
    new = StatusDocument(state=NodeState.FACTORY, reason="", since=0, node=NODE, site=None)
    found = view(Seen(document=new, now_ms=int(NOW), version="1", serial="G", node=NODE, addresses=[]))
    assert (found.since, found.span) == ("", "")
    assert any(row == "state    factory" for row in lines(found))
