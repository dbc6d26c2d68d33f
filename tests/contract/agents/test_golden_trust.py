"""Documents that were signed once are believed for ever: by the same keys, read by a newer program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.contracts.identity import Election
from agents.contracts.ids import hardware_digest, node_id
from agents.contracts.signed import SignedDocument
from agents.core.operators import first_operators
from agents.core.trust import Known, Own, TrustPolicy, verify_roster
from agents.core.trust_codes import TrustRefused

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "v1" / "trust-chain.json").read_text())


def judged(roster: Any) -> Any:
    operators = first_operators(msgspec.convert(GOLDEN["document"], SignedDocument))
    own = GOLDEN["own"]
    node = node_id(own["hardware_id"])
    return verify_roster(
        msgspec.convert(roster, SignedDocument),
        keys=operators.roster_keys,
        operators=operators,
        policy=TrustPolicy.OPERATORS,
        site="store-01234",
        known=Known(),
        own=Own(node, hardware_digest(own["hardware_id"]), own["signing"], own["sealing"]),
        now=GOLDEN["now"],
    )


def test_operators_document_entry_authorisation_and_roster_of_version_1_are_believed() -> None:
    found = judged(GOLDEN["roster"])
    assert (found.roster.generation, found.roster.epoch, found.roster.election) == (7, 2, Election.OFFLINE)
    assert found.digest == "0735a51a71ee0b57975a5121743c05c0cc591efd4ab73088cd049ee7049e3020"
    member = found.members()[0]
    assert found.allowed(member.node, GOLDEN["own"]["signing"])
    assert [one.name for one in found.servers()] == ["store-01234-1"]


def test_and_not_when_a_letter_is_another() -> None:
    payload = GOLDEN["roster"]["payload"]
    with pytest.raises(TrustRefused):
        judged({**GOLDEN["roster"], "payload": payload[:-2] + ("A" if payload[-2] != "A" else "B") + payload[-1]})
