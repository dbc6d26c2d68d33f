"""On the NUC image nobody can log in: nothing there tells to write a file of the node, or to read its journal."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from agents.contracts.messages import NodeState
from edge_commander.advice import ADVICE, STATES, Advice
from edge_commander.console import look
from edge_commander.console.screen import lines
from edge_commander.console.view import BRING, CORRECT, TELL, WAIT, Seen, view
from edge_commander.reasons import Why
from edge_commander.view import StatusDocument
from images.nuc.root import IMAGE_ID

BESIDE = 29
"""Characters of a row beside the code, on the smallest screen."""
NOW = 1_800_000_000_000
NEEDS_A_SHELL = re.compile(r"/etc/|journal|--check-config|kubectl logs|put .* on this node|leave this node alone|\{")
PLACES = [
    *(pytest.param(one, id=why.name) for why, one in ADVICE.items()),
    *(pytest.param(one, id=state.name) for state, one in STATES.items()),
    *(
        pytest.param(one, id=name)
        for name, one in zip(("BRING", "CORRECT", "TELL", "WAIT"), (BRING, CORRECT, TELL, WAIT), strict=True)
    ),
]


@pytest.mark.parametrize("advice", PLACES)
def test_no_advice_for_the_image_needs_a_shell_there(advice: Advice) -> None:
    text = advice.image or advice.desk
    assert len(textwrap.wrap(advice.image, BESIDE, break_on_hyphens=False)) <= 3, "the end is not on the screen"
    assert NEEDS_A_SHELL.search(text) is None, text


def test_the_screen_says_the_one_or_the_other() -> None:
    def desk(image: bool, document: StatusDocument | None = None, **more: bool) -> str:
        return view(Seen(document=document, now_ms=NOW, image=image, **more)).desk  # type: ignore[arg-type]

    assert desk(False, missing=True).startswith("write /etc/galley/galley.yaml, or bring it")
    assert desk(True, missing=True).startswith("bring a stick labelled GALLEY")
    assert desk(False) == "journalctl -u galley-edge-commander"
    assert "page on port 9412" in desk(True)
    waits = StatusDocument(state=NodeState.FORMING, reason=Why.CONFIG.value, since=1, node=None, site=None)
    assert "/etc/galley/galley.yaml" in desk(False, waits) and "stick labelled GALLEY" in desk(True, waits)
    rows = "\n".join(lines(view(Seen(document=None, now_ms=NOW, missing=True, image=True))))
    assert "stick check finds good" in re.sub(r"\s+", " ", rows) and " ..." not in rows


@pytest.mark.parametrize(("text", "image"), [(f"ID=debian\nIMAGE_ID={IMAGE_ID}\n", True), ("ID=debian\n", False)])
def test_the_image_is_known_by_its_os_release(tmp_path: Path, text: str, image: bool) -> None:
    (tmp_path / "os-release").write_text(text)
    looks = look.Look(root=tmp_path, check=lambda _: (), net=lambda: ([], None), os_release=tmp_path / "os-release")
    assert looks().image is image
    assert look.Look(root=tmp_path, net=lambda: ([], None), os_release=tmp_path / "none")().image is False


def test_the_image_calls_itself_as_it_is_looked_for() -> None:
    assert look.IMAGE_ID == IMAGE_ID
