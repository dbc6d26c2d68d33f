"""Whose word it is that an epoch's cluster is made of a snapshot: operators', and only without them the endpoint's."""

from __future__ import annotations

import msgspec

from agents.contracts.codec import encode
from agents.contracts.trust import Roster
from agents.core.trust import TrustPolicy
from tests.fakes.trust_kit import authorisation, judge, roster


def trial(signed: Roster) -> bool:
    return judge(signed, policy=TrustPolicy.ENDPOINT, operators=None).restore


def test_a_stolen_endpoint_restores_no_site_and_holds_no_restoration_back() -> None:
    """What is restored is taken off the nodes first: that is an operators' word alone, where there are any."""
    ordered = roster(epoch=2, authorisation=authorisation(restore=True))
    assert judge(ordered).restore
    assert judge(msgspec.structs.replace(ordered, restore=False)).restore
    assert not judge(roster(epoch=2, authorisation=authorisation(), restore=True)).restore
    assert not judge(roster(restore=True)).restore
    plain = trial_roster(2)
    assert not trial(plain) and trial(msgspec.structs.replace(plain, restore=True))


def trial_roster(epoch: int) -> Roster:
    """Of a site without operators."""
    return roster(epoch=epoch, members=[msgspec.structs.replace(one, entry=None) for one in roster().members])


def test_a_roster_that_is_not_restored_reads_as_it_always_did() -> None:
    """Its payload is compared byte for byte with what nodes took before this field was there."""
    assert b"restore" not in encode(roster())
