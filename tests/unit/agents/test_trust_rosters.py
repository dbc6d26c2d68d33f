"""Rosters: each rule has its case, and whatever is changed of a signed document, it is refused."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.contracts.codec import encode
from agents.contracts.command import JwsSignature
from agents.contracts.identity import Election
from agents.contracts.ids import hardware_digest
from agents.contracts.signed import SignedDocument
from agents.contracts.trust import MemberRole, OperatorKey, Roster
from agents.core.entries import sign_entry
from agents.core.jose import SoftwareKey, encode64, thumbprint
from agents.core.signed import sign_document
from agents.core.trust import ROSTER_TYPE, Known, Own, TrustPolicy, roster_digest, sign_roster
from agents.core.trust_codes import TrustCode, TrustRefused
from tests.fakes.trust_kit import (
    ALICE,
    BOB,
    BOXES,
    DAY,
    ENDPOINT,
    MALLORY,
    NOW,
    OTHER_ENDPOINT,
    SITE,
    STRANGER,
    authorisation,
    judge,
    operators,
    raw_entry,
    roster,
    with_member,
)

ONE, TWO, THREE = BOXES
NEW = SoftwareKey.generate()
KEYS = re.compile("[A-Za-z0-9_-]{40}")
"""What a key, a thumbprint or a signature has and no error may hold."""


def code(signed: SignedDocument | Roster, **arguments: Any) -> TrustCode:
    with pytest.raises(TrustRefused) as refused:
        judge(signed, **arguments)
    assert not KEYS.search(str(refused.value))
    return refused.value.code


def test_a_good_roster_says_who_is_of_the_site() -> None:
    found = judge(roster())
    assert [one.node for one in found.members()] == [box.node for box in BOXES]
    assert found.digest == roster_digest(sign_roster(found.roster, ENDPOINT)) and len(found.digest) == 64
    assert found.entries[TWO.node].hardware == hardware_digest(TWO.hardware)
    assert found.known.generation == 5 and found.known.epoch == 1
    assert judge(roster(), known=found.known).known == found.known, "the same once more is no news"


def test_who_holds_the_members_key_is_allowed_and_nobody_else() -> None:
    found = judge(roster())
    assert found.allowed(TWO.node, TWO.signing.public)
    assert found.allowed(TWO.node, {**TWO.signing.public, "kid": "x"})
    assert not found.allowed(TWO.node, THREE.signing.public)
    assert not found.allowed(TWO.node, TWO.sealing.public)
    assert not found.allowed(STRANGER.node, STRANGER.signing.public)
    assert not found.allowed(TWO.node, {}) and not found.allowed(TWO.node, {"kty": "oct", "k": "AA"})
    revoked = judge(roster(6, [ONE.member(), THREE.member()]), known=found.known)
    assert not revoked.allowed(TWO.node, TWO.signing.public) and revoked.member(TWO.node) is None


def test_a_member_that_did_not_enrol_yet_has_no_keys_and_no_say() -> None:
    found = judge(with_member(roster(), 2, signing={}, sealing={}))
    assert not found.allowed(THREE.node, THREE.signing.public)
    assert judge(roster(6), known=found.known).allowed(THREE.node, THREE.signing.public)


def test_workers_are_no_servers() -> None:
    entry = sign_entry(THREE.entry(role=MemberRole.WORKER), ALICE)
    found = judge(with_member(roster(), 2, role=MemberRole.WORKER, entry=entry))
    assert [one.node for one in found.servers()] == [ONE.node, TWO.node]


def entry_of(box: Any, **changed: Any) -> SignedDocument:
    return raw_entry(box.entry(**changed))


CASES: dict[str, tuple[TrustCode, Roster]] = {
    "another site": (TrustCode.SITE, roster(site="store-2")),
    "one node twice": (TrustCode.MEMBER_DUPLICATE, roster(members=[ONE.member(), TWO.member(), TWO.member()])),
    "one name twice": (TrustCode.MEMBER_DUPLICATE, with_member(roster(), 1, name=ONE.name)),
    "one signing key twice": (TrustCode.MEMBER_DUPLICATE, with_member(roster(), 1, signing=ONE.signing.public)),
    "half of the keys": (TrustCode.MEMBER_KEYS, with_member(roster(), 1, sealing={})),
    "a private key": (TrustCode.MEMBER_KEYS, with_member(roster(), 1, sealing=NEW.private())),
    "an operator's kind of key": (TrustCode.MEMBER_KEYS, with_member(roster(), 1, signing=BOB.public)),
    "own signing key changed": (TrustCode.OWN_KEYS, with_member(roster(), 0, signing=NEW.public)),
    "own sealing key changed": (TrustCode.OWN_KEYS, with_member(roster(), 0, sealing=NEW.public)),
    "a stranger without an entry": (
        TrustCode.ENTRY_MISSING,
        roster(members=[*roster().members, msgspec.structs.replace(STRANGER.member(), entry=None)]),
    ),
    "a stranger with a member's entry": (
        TrustCode.ENTRY_NODE, roster(members=[*roster().members, STRANGER.member(entry_of(TWO))]),
    ),
    "an entry of nobody we know": (
        TrustCode.ENTRY_SIGNATURE, with_member(roster(), 1, entry=raw_entry(TWO.entry(), MALLORY)),
    ),
    "an entry that the endpoint signed": (
        TrustCode.ENTRY_SIGNATURE, with_member(roster(), 1, entry=raw_entry(TWO.entry(), ENDPOINT)),
    ),
    "no entry but something else signed": (
        TrustCode.ENTRY_PAYLOAD, with_member(roster(), 1, entry=authorisation()),
    ),
    "another kind of signature under an entry": (
        TrustCode.ENTRY_SIGNATURE,
        with_member(roster(), 1, entry=sign_document(TWO.entry(), [ALICE], "galley-epoch+jws")),
    ),
    "an entry of another site": (TrustCode.ENTRY_SITE, with_member(roster(), 1, entry=entry_of(TWO, site="store-2"))),
    "an entry for other hardware": (
        TrustCode.ENTRY_NODE, with_member(roster(), 1, entry=entry_of(TWO, hardware=hardware_digest("x"))),
    ),
    "an entry without hardware": (TrustCode.ENTRY_NODE, with_member(roster(), 1, entry=entry_of(TWO, hardware=""))),
    "an entry without a name": (
        TrustCode.ENTRY_MISMATCH, with_member(roster(), 1, name="", entry=entry_of(TWO, name="")),
    ),
    "another name than the entry's": (TrustCode.ENTRY_MISMATCH, with_member(roster(), 1, name="other")),
    "a worker made a server": (
        TrustCode.ENTRY_MISMATCH, with_member(roster(), 1, entry=entry_of(TWO, role=MemberRole.WORKER)),
    ),
    "a withdrawn member": (TrustCode.ENTRY_WITHDRAWN, with_member(roster(), 1, entry=entry_of(TWO, withdrawn=True))),
    "other keys than the entry names": (
        TrustCode.KEYS_PINNED, with_member(roster(), 1, entry=entry_of(TWO, signing=thumbprint(NEW.public))),
    ),
    "another sealing key than the entry names": (
        TrustCode.KEYS_PINNED, with_member(roster(), 1, entry=entry_of(TWO, sealing=thumbprint(NEW.public))),
    ),
    "a withdrawal that is none": (TrustCode.ENTRY_SITE, roster(withdrawn=[entry_of(STRANGER)])),
    "a withdrawal of another site": (
        TrustCode.ENTRY_SITE, roster(withdrawn=[entry_of(STRANGER, withdrawn=True, site="store-2")]),
    ),
    "a withdrawal by nobody we know": (
        TrustCode.ENTRY_SIGNATURE, roster(withdrawn=[raw_entry(STRANGER.entry(withdrawn=True), MALLORY)]),
    ),
    "a second epoch on its own": (TrustCode.EPOCH_AUTHORISATION, roster(epoch=2)),
    "a second epoch by nobody we know": (
        TrustCode.EPOCH_AUTHORISATION, roster(epoch=2, authorisation=authorisation(key=MALLORY)),
    ),
    "a third epoch by the second's word": (
        TrustCode.EPOCH_AUTHORISATION, roster(epoch=3, authorisation=authorisation(2)),
    ),
    "an epoch that skips one": (
        TrustCode.EPOCH_AUTHORISATION, roster(epoch=3, authorisation=authorisation(3, previous=1)),
    ),
    "another site's epoch": (
        TrustCode.EPOCH_AUTHORISATION, roster(epoch=2, authorisation=authorisation(site="store-2")),
    ),
    "an entry for an authorisation": (
        TrustCode.EPOCH_AUTHORISATION, roster(epoch=2, authorisation=entry_of(ONE)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_roster_in_itself(case: str) -> None:
    expected, bad = CASES[case]
    assert code(bad) is expected


def test_an_epoch_that_an_operator_authorised_is_taken() -> None:
    assert judge(roster(epoch=2, authorisation=authorisation())).known.epoch == 2


def seen(**changed: Any) -> Known:
    """As the good roster of generation 5 left it."""
    return msgspec.structs.replace(judge(roster()).known, **changed)


def resigned(box: Any, sequence: int, **changed: Any) -> SignedDocument:
    return entry_of(box, sequence=sequence, **changed)


AGAINST_WHAT_WAS_SEEN: dict[str, tuple[TrustCode, Roster]] = {
    "an older generation": (TrustCode.GENERATION, roster(4)),
    "the same generation with another content": (TrustCode.GENERATION_REUSED, roster(5, [ONE.member(), TWO.member()])),
    "a member's signing key changed": (TrustCode.KEYS_CHANGED, with_member(roster(6), 1, signing=NEW.public)),
    "a member's sealing key changed": (TrustCode.KEYS_CHANGED, with_member(roster(6), 1, sealing=NEW.public)),
    "the election changed within the epoch": (TrustCode.ELECTION, roster(6, election=Election.OFFLINE)),
}


@pytest.mark.parametrize("case", AGAINST_WHAT_WAS_SEEN)
def test_a_roster_against_what_was_seen(case: str) -> None:
    expected, bad = AGAINST_WHAT_WAS_SEEN[case]
    assert code(bad, known=seen()) is expected


def test_an_epoch_never_goes_back() -> None:
    second = judge(roster(6, epoch=2, election=Election.OFFLINE, authorisation=authorisation()), known=seen())
    assert code(roster(7), known=second.known) is TrustCode.EPOCH


def test_keys_change_by_a_newer_entry_once() -> None:
    other = SoftwareKey.generate()
    by_entry = with_member(roster(6), 1, signing=NEW.public, entry=resigned(TWO, 11))
    known = judge(by_entry, known=seen()).known
    again = with_member(roster(7), 1, signing=other.public, entry=resigned(TWO, 11))
    assert code(again, known=known) is TrustCode.KEYS_CHANGED
    back = with_member(roster(7), 1, entry=resigned(TWO, 10))
    assert code(back, known=known) is TrustCode.ENTRY_OLDER


def test_a_newer_entry_beside_the_same_keys_lets_no_others_follow() -> None:
    known = judge(with_member(roster(6), 1, entry=resigned(TWO, 11)), known=seen()).known
    changed = with_member(roster(7), 1, signing=NEW.public, entry=resigned(TWO, 11))
    assert code(changed, known=known) is TrustCode.KEYS_CHANGED


@pytest.mark.parametrize("gone", ["left out", "without keys"])
def test_a_member_that_was_away_comes_back_with_its_own_keys_alone(gone: str) -> None:
    away = (
        roster(6, [ONE.member(), THREE.member()])
        if gone == "left out"
        else with_member(roster(6), 1, signing={}, sealing={})
    )
    known = judge(away, known=seen()).known
    assert judge(roster(7), known=known).allowed(TWO.node, TWO.signing.public)
    assert code(with_member(roster(7), 1, signing=NEW.public), known=known) is TrustCode.KEYS_CHANGED
    shipped_anew = with_member(roster(7), 1, signing=NEW.public, entry=resigned(TWO, 11))
    assert judge(shipped_anew, known=known).allowed(TWO.node, NEW.public)


def test_what_an_operator_withdrew_never_comes_back_by_the_endpoints_word() -> None:
    withdrawal = entry_of(TWO, sequence=20, withdrawn=True)
    known = judge(roster(6, [ONE.member(), THREE.member()], withdrawn=[withdrawal]), known=seen()).known
    assert code(roster(7), known=known) is TrustCode.ENTRY_WITHDRAWN
    assert code(with_member(roster(7), 1, signing={}, sealing={}), known=known) is TrustCode.ENTRY_WITHDRAWN
    anew = with_member(roster(7), 1, entry=resigned(TWO, 21))
    assert judge(anew, known=known).allowed(TWO.node, TWO.signing.public)


def test_an_entry_that_ended_brings_no_new_keys() -> None:
    ended = entry_of(THREE, expires=NOW - 1)
    two = roster(6, [ONE.member(), TWO.member()])
    known = judge(two, known=Known()).known
    late = with_member(roster(7), 2, entry=ended)
    assert code(late, known=known) is TrustCode.ENTRY_EXPIRED
    assert judge(late, known=known, now=NOW - 2).allowed(THREE.node, THREE.signing.public)
    waiting = with_member(late, 2, signing={}, sealing={})
    assert (
        code(with_member(roster(8), 2, entry=ended), known=judge(waiting, known=known).known) is TrustCode.ENTRY_EXPIRED
    )
    assert judge(late, known=seen()).member(THREE.node), "keys that were seen before go on"
    assert judge(late).member(THREE.node), "the first roster ever has nothing to compare with"


def test_who_may_sign_rosters() -> None:
    assert code(sign_roster(roster(), OTHER_ENDPOINT)) is TrustCode.SIGNATURE
    assert code(sign_document(roster(), [ENDPOINT], "JWT")) is TrustCode.SIGNATURE
    assert code(sign_document(roster(), [ENDPOINT, OTHER_ENDPOINT], ROSTER_TYPE)) is TrustCode.SIGNATURE
    assert code(sign_roster(roster(), ENDPOINT), keys={}) is TrustCode.SIGNATURE
    assert code(sign_document({"v": 2, "site": SITE}, [ENDPOINT], ROSTER_TYPE)) is TrustCode.PAYLOAD
    future = {**json.loads(encode(roster())), "v": 2}
    assert code(sign_document(future, [ENDPOINT], ROSTER_TYPE)) is TrustCode.PAYLOAD


def test_own_hardware_is_the_entrys() -> None:
    stolen = Own(ONE.node, hardware_digest("other"), ONE.signing.public, ONE.sealing.public)
    assert code(roster(), own=stolen) is TrustCode.OWN_HARDWARE


def test_a_retired_key_signs_nothing_new() -> None:
    retired = operators(
        keys=[OperatorKey(name="alice", key=ALICE.public, retired=NOW), OperatorKey(name="bob", key=BOB.public)]
    )
    assert judge(roster(), operators=retired).digest
    after = with_member(roster(), 1, entry=entry_of(TWO, issued=NOW + 1))
    assert code(after, operators=retired) is TrustCode.ENTRY_SIGNATURE
    late = roster(epoch=2, authorisation=authorisation(issued=NOW + 1))
    assert code(late, operators=retired) is TrustCode.EPOCH_AUTHORISATION
    gone = operators(keys=[OperatorKey(name="bob", key=BOB.public)])
    assert code(roster(), operators=gone) is TrustCode.ENTRY_SIGNATURE


def trial(signed: Roster, **arguments: Any) -> Any:
    return judge(signed, policy=TrustPolicy.ENDPOINT, operators=arguments.pop("operators", None), **arguments)


def test_at_a_trial_site_the_endpoints_word_makes_members_and_nothing_goes_back() -> None:
    plain = roster(members=[msgspec.structs.replace(box.member(), entry=None) for box in BOXES])
    known = trial(plain).known
    changed = with_member(msgspec.structs.replace(plain, generation=6), 1, signing=NEW.public)
    assert trial(changed, known=known).allowed(TWO.node, NEW.public)
    for expected, bad in [
        (TrustCode.GENERATION, msgspec.structs.replace(plain, generation=4)),
        (TrustCode.GENERATION_REUSED, with_member(plain, 1, address="192.0.2.99")),
        (TrustCode.OWN_KEYS, with_member(changed, 0, sealing=NEW.public)),
        (TrustCode.MEMBER_DUPLICATE, with_member(changed, 1, name=ONE.name)),
    ]:
        with pytest.raises(TrustRefused) as refused:
            trial(bad, known=known)
        assert refused.value.code is expected
    with pytest.raises(TrustRefused, match="authorisation"):
        trial(msgspec.structs.replace(plain, epoch=2), operators=operators())


def test_strangers_that_left_a_trial_site_are_forgotten_and_entries_never() -> None:
    many = [msgspec.structs.replace(STRANGER.member(), entry=None)]
    known = trial(roster(members=many)).known
    assert set(trial(roster(6, []), known=known).known.seen) == set()
    assert set(judge(roster(6, []), known=seen()).known.seen) == {box.node for box in BOXES}


# Whatever is changed of a signed document.

GOOD = sign_roster(roster(epoch=2, authorisation=authorisation()), ENDPOINT)


def test_the_document_that_is_tampered_with_below_is_good() -> None:
    assert judge(GOOD).roster.epoch == 2


def flipped(text: str, at: int, bit: int) -> str:
    index = at % len(text)
    return text[:index] + chr(ord(text[index]) ^ (1 << bit)) + text[index + 1 :]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**20), st.integers(0, 6), st.sampled_from(["payload", "protected", "signature"]))
def test_any_bit_flipped_anywhere_is_refused(at: int, bit: int, where: str) -> None:
    one = GOOD.signatures[0]
    if where == "payload":
        bad = msgspec.structs.replace(GOOD, payload=flipped(GOOD.payload, at, bit))
    else:
        changed = {where: flipped(getattr(one, where), at, bit)}
        bad = msgspec.structs.replace(GOOD, signatures=[msgspec.structs.replace(one, **changed)])
    assert code(bad) is TrustCode.SIGNATURE


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [found for key, one in value.items() for found in paths(one, (*path, key))]
    if isinstance(value, list):
        return [found for index, one in enumerate(value) for found in paths(one, (*path, index))]
    return [path]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


ENTRY = json.loads(encode(TWO.entry(expires=NOW + DAY, signing=thumbprint(TWO.signing.public))))
ENTRY_PATHS = paths(ENTRY)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(ENTRY_PATHS), st.one_of(st.integers(0, 2**53), st.text(max_size=8), st.none(), st.booleans()))
def test_any_field_of_an_entry_changed_by_the_endpoint_is_refused(path: tuple[Any, ...], new: Any) -> None:
    """The endpoint signs the roster anew around what it changed: only the operator's signature can tell."""
    good = raw_entry(msgspec.convert(ENTRY, type(TWO.entry())))
    document = replaced(ENTRY, path, new)
    payload = encode64(json.dumps(document, separators=(",", ":")).encode())
    if payload == good.payload:
        return
    bad = msgspec.structs.replace(good, payload=payload)
    assert code(with_member(roster(), 1, entry=bad)) in (TrustCode.ENTRY_SIGNATURE, TrustCode.ENTRY_PAYLOAD)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), min_size=1, max_size=3), st.text(max_size=60))
def test_no_garbage_ends_in_anything_but_a_refusal(signatures: list[tuple[str, str]], payload: str) -> None:
    ones = [JwsSignature(protected=a, signature=b) for a, b in signatures]
    with pytest.raises(TrustRefused):
        judge(SignedDocument(payload=payload, signatures=ones))


def test_a_header_that_names_its_own_key_or_no_algorithm_is_refused() -> None:
    for head in (
        {"alg": "none"},
        {"alg": "ES256", "kid": thumbprint(ENDPOINT.public), "typ": ROSTER_TYPE, "jwk": ENDPOINT.public},
        {"alg": "HS256", "kid": thumbprint(ENDPOINT.public), "typ": ROSTER_TYPE},
        {"alg": "ES256", "typ": ROSTER_TYPE},
    ):
        protected = base64.urlsafe_b64encode(json.dumps(head).encode()).rstrip(b"=").decode()
        signature = encode64(ENDPOINT.sign(f"{protected}.{GOOD.payload}".encode()))
        bad = msgspec.structs.replace(GOOD, signatures=[JwsSignature(protected=protected, signature=signature)])
        assert code(bad) is TrustCode.SIGNATURE
