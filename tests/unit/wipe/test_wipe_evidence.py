"""Whose word counts in early boot, as `ident` says it: the newest document's, its threshold, and no retired key."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from agents.contracts.messages import NodeState
from agents.contracts.trust import OperatorKey
from agents.core.command_verify import CommandRefused, sign_command
from agents.core.errors import Rejected
from agents.core.jose import SoftwareKey, thumbprint
from agents.io.state import StateFile
from edge_commander.memory import STATE_NAME
from edge_commander.reasons import NodeRecord
from edge_commander.settings import CommanderSettings
from edge_commander.trust.keeper import TRUST_NAME
from edge_commander.trust.record import TrustRecord
from edge_commander.wipe.evidence import warrant
from edge_commander.wipe.warrant import NoOperators, judge
from tests.fakes import wipe_kit as kit
from tests.fakes.trust_kit import ALICE, BOB, MALLORY, chained, operators_document


@pytest.fixture
def own(tmp_path: Path) -> CommanderSettings:
    """A node that was assigned, and whose configuration came with the first document, of alice alone."""
    first = tmp_path / "operators.json"
    first.write_bytes(msgspec.json.encode(chained(operators_document())))
    StateFile(tmp_path / STATE_NAME, NodeRecord).save(
        NodeRecord(state=NodeState.READY, node=kit.NODE, site=kit.SITE, reported=True)
    )
    return CommanderSettings(keys_dir=str(tmp_path), operators_file=str(first))


def follows(own: CommanderSettings) -> None:
    """Documents 2 and 3 came since: bob joined and two must sign, and mallory's key was retired."""
    both = [OperatorKey(name="alice", key=ALICE.public), OperatorKey(name="bob", key=BOB.public)]
    gone = OperatorKey(name="mallory", key=MALLORY.public, retired=1)
    second = chained(operators_document(2, keys=both, threshold=2))
    third = chained(operators_document(3, keys=[*both, gone], threshold=2), ALICE, BOB)
    StateFile(Path(own.keys_dir) / TRUST_NAME, TrustRecord).save(TrustRecord(site=kit.SITE, chain=[second, third]))


def kids(*keys: SoftwareKey) -> set[str]:
    return {thumbprint(one.public) for one in keys}


def test_the_newest_document_counts_with_its_threshold(own: CommanderSettings) -> None:
    found = warrant(own)
    assert (found.site, found.node, set(found.operators), found.threshold) == (kit.SITE, kit.NODE, kids(ALICE), 1)
    follows(own)
    found = warrant(own)
    assert (set(found.operators), found.threshold) == (kids(ALICE, BOB), 2)


def test_without_operators_nobody_counts_and_no_command_is_judged(own: CommanderSettings) -> None:
    with pytest.raises(NoOperators):
        warrant(msgspec.structs.replace(own, operators_file=None))


def test_a_wipe_of_keep_is_judged_by_it(own: CommanderSettings) -> None:
    wide, plain = kit.command(targets=["keep", "var"]), kit.command()
    assert judge(sign_command(wide, [ALICE]), warrant(own)) == wide
    follows(own)
    assert judge(sign_command(wide, [ALICE, BOB]), warrant(own)) == wide
    assert judge(sign_command(plain, [BOB]), warrant(own)) == plain
    for signers, code in (([ALICE], "threshold"), ([ALICE, MALLORY], "signature"), ([MALLORY], "signature")):
        with pytest.raises(CommandRefused) as caught:
            judge(sign_command(wide, signers), warrant(own))
        assert caught.value.code == code


def test_a_disk_that_does_not_say_who_it_is_warrants_nothing(own: CommanderSettings) -> None:
    (Path(own.keys_dir) / STATE_NAME).unlink()
    with pytest.raises(Rejected, match="does not say which node"):
        warrant(own)
