"""Assertions, proofs, tokens and commands: the checks themselves, without a server."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from agents.contracts.command import Command, SignedCommand, Verb
from agents.contracts.identity import Role, Scope
from agents.core import assertion as asserted
from agents.core.command_verify import CommandKeys, CommandRefused, sign_command, verify_command
from agents.core.jose import SignatureRefused, SoftwareKey, canonical, decode64, encode64, thumbprint, verify_compact
from cloud_endpoint.app.issuer import Issuer
from cloud_endpoint.app.principal import Principal

KEY, OPERATOR, SECOND = SoftwareKey.generate(), SoftwareKey.generate("Ed25519"), SoftwareKey.generate("Ed25519")
NODE, SITE, ISSUER, NOW = "n-aaaaaaaaaaaaaaaa", "store-1", "https://cloud.galley.test", 1_700_000_000
KEYS = CommandKeys(
    operators={thumbprint(OPERATOR.public): OPERATOR.public, thumbprint(SECOND.public): SECOND.public},
    endpoint={thumbprint(KEY.public): KEY.public},
)


def check(now: int, lifetime: int = 60) -> asserted.Claims:
    token = asserted.client_assertion(NODE, ISSUER, KEY, now=NOW, jti="j" * 22, lifetime=lifetime)
    return asserted.check_assertion(token, NODE, KEY.public, ISSUER, now)


def test_an_assertion_is_good_within_its_life_and_the_stated_skew() -> None:
    assert check(NOW).jti == "j" * 22
    check(NOW - asserted.SKEW)
    check(NOW + 59 + asserted.SKEW)
    for now in (NOW - asserted.SKEW - 1, NOW + 60 + asserted.SKEW):
        with pytest.raises(SignatureRefused):
            check(now)
    with pytest.raises(SignatureRefused, match="lifetime"):
        check(NOW, lifetime=61)


def test_the_proof_binds_id_sealing_key_issuer_and_time() -> None:
    sealing = SoftwareKey.generate().public
    proof = asserted.enrolment_proof("hw", ISSUER, KEY, sealing, now=NOW)
    good = {"signing": KEY.public, "sealing": sealing, "issuer": ISSUER, "now": NOW}
    asserted.check_enrolment_proof(proof, "hw", **good)  # type: ignore[arg-type]
    for hardware, changes in [
        ("other", {}),
        ("hw", {"sealing": KEY.public}),
        ("hw", {"issuer": "https://x"}),
        ("hw", {"now": NOW + 91}),
        ("hw", {"signing": SoftwareKey.generate().public}),
    ]:
        with pytest.raises(SignatureRefused):
            asserted.check_enrolment_proof(proof, hardware, **{**good, **changes})  # type: ignore[arg-type]
    with pytest.raises(SignatureRefused):
        asserted.check_assertion(proof, NODE, KEY.public, ISSUER, NOW)


def test_a_thumbprint_is_rfc_7638s_and_keys_are_checked() -> None:
    # The example key of RFC 8037 appendix A.3.
    rfc = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(rfc) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert canonical({**rfc, "kid": "x", "use": "sig"}) == rfc
    for bad in ({}, {"kty": "RSA"}, {**rfc, "crv": "X25519"}, {**rfc, "d": "x"}, {**rfc, "x": 5}, KEY.private()):
        with pytest.raises(SignatureRefused):
            canonical(bad)


def test_repr_shows_no_private_key() -> None:
    assert KEY.private()["d"] not in repr(KEY)
    assert "SoftwareKey(" in repr(KEY)


def test_the_issuers_tokens_end_by_time_and_by_revocation() -> None:
    issuer = Issuer(ISSUER, SoftwareKey.generate())
    who = Principal(NODE, frozenset({Scope.HEARTBEAT_WRITE}), SITE, Role.HEARTBEAT)
    token = issuer.issue(who, NOW * 1000)
    assert issuer.verify(token, NOW * 1000) == who
    assert issuer.verify(token, NOW * 1000 + 599_999) == who
    with pytest.raises(SignatureRefused, match="expired"):
        issuer.verify(token, NOW * 1000 + 600_000)
    issuer.revoked = {NODE: NOW * 1000 + 5}
    with pytest.raises(SignatureRefused, match="revoked"):
        issuer.verify(token, NOW * 1000 + 10)
    assert issuer.verify(issuer.issue(who, NOW * 1000 + 6), NOW * 1000 + 10) == who
    with pytest.raises(SignatureRefused):
        Issuer(ISSUER, SoftwareKey.generate()).verify(token, NOW * 1000)
    with pytest.raises(SignatureRefused, match="audience"):
        Issuer("https://other.test", issuer._key).verify(token, NOW * 1000)
    with pytest.raises(SignatureRefused):
        verify_compact(token, KEY.public, types=frozenset({"at+jwt"}))


def command(**changes: object) -> Command:
    values = {
        "id": "0" * 32,
        "verb": Verb.WIPE,
        "site": SITE,
        "node": NODE,
        "sequence": 5,
        "challenge": "c",
        "issued": NOW,
        "expires": NOW + 600,
    }
    named: dict[object, list[str]] = {Verb.WIPE: ["var"], Verb.RETIRE: ["ident"]}
    values["targets"] = named.get(changes.get("verb", Verb.WIPE), [])
    return Command(**{**values, **changes})  # type: ignore[arg-type]


def verify(signed: SignedCommand, threshold: int = 1, after: int = 4, needed: int = 0) -> Command:
    return verify_command(
        signed, replace(KEYS, threshold=threshold), site=SITE, node=NODE, now=NOW, after=after,
        challenges=frozenset({"c"}), operators_needed=needed, because="many sites at once",
    )  # fmt: skip


STRANGER = SoftwareKey.generate("Ed25519")
SIGNERS: dict[str, tuple[list[SoftwareKey], bool, int]] = {
    # Whose keys; whether an endpoint's word is in it; how many operators' words.
    "the endpoint": ([KEY], True, 0),
    "one operator": ([OPERATOR], False, 1),
    "one operator twice": ([OPERATOR, OPERATOR], False, 1),
    "one operator and the endpoint": ([OPERATOR, KEY], True, 1),
    "two operators": ([OPERATOR, SECOND], False, 2),
    "two operators and the endpoint": ([KEY, OPERATOR, SECOND], True, 2),
    "a stranger": ([STRANGER], False, -1),
    "an operator and a stranger": ([OPERATOR, STRANGER], False, -1),
}
ARGS = {"upgrade": {"version": "1.4.0", "sha256": "0a" * 32, "address": "https://images.example/1.4.0"}}
ENDPOINTS = {"sync", "snapshot", "collect-diagnostics", "reboot"}
WIDE: dict[str, dict[str, object]] = {
    "keep": {"verb": Verb.WIPE, "targets": ["keep"]},
    "rebuild": {"verb": Verb.WIPE, "targets": ["var"], "args": {"rebuild": "yes"}},
    "identity": {"verb": Verb.RETIRE, "targets": ["ident", "var"]},
}


@pytest.mark.parametrize("who", SIGNERS)
@pytest.mark.parametrize("what", [*(one.value for one in Verb), *WIDE])
def test_who_may_sign_what(what: str, who: str) -> None:
    """Every verb, and what goes past a blast radius, by every set of signers and a threshold of 1, 2 and 3."""
    signers, by_endpoint, operators = SIGNERS[who]
    one = command(**(WIDE[what] if what in WIDE else {"verb": Verb(what), "args": ARGS.get(what, {})}))
    signed = sign_command(one, signers)
    for threshold in (1, 2, 3):
        least = threshold if what in WIDE or what == "retire" else 0 if what in ENDPOINTS else 1
        if operators >= least and (operators > 0 or by_endpoint):
            assert verify(signed, threshold) == one
            continue
        with pytest.raises(CommandRefused) as caught:
            verify(signed, threshold)
        assert caught.value.code == ("threshold" if operators > 0 else "signature")


def test_two_operators_are_two_persons_where_the_judge_asks_for_them() -> None:
    verify(sign_command(command(), [OPERATOR, SECOND]), needed=2)
    for signers in ([OPERATOR], [OPERATOR, OPERATOR], [OPERATOR, KEY]):
        with pytest.raises(CommandRefused, match="2 operator signatures, and has 1: many sites at once"):
            verify(sign_command(command(), signers), needed=2)


def test_a_judge_may_ask_for_more_and_never_for_less() -> None:
    retire = sign_command(command(verb=Verb.RETIRE), [OPERATOR])
    with pytest.raises(CommandRefused, match="3 operator signatures, and has 1: retire ends"):
        verify(retire, threshold=3, needed=1)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"node": "n-bbbbbbbbbbbbbbbb"}, "node"),
        ({"site": "other"}, "site"),
        ({"challenge": "d"}, "challenge"),
        ({"sequence": 4}, "sequence"),
        ({"expires": NOW}, "expired"),
        ({"issued": NOW + 31}, "issued"),
        ({"expires": NOW + 86_401}, "expires"),
        ({"targets": ["/dev/sda"]}, "target"),
        ({"targets": ["ident"]}, "target"),
        ({"targets": []}, "target"),
        ({"args": {"force": "yes"}}, "args"),
    ],
)
def test_each_rule_of_a_command(changes: dict[str, object], code: str) -> None:
    with pytest.raises(CommandRefused) as caught:
        verify(sign_command(command(**changes), [OPERATOR]))
    assert caught.value.code == code


def test_payload_and_header_are_both_under_the_signature() -> None:
    good = sign_command(command(), [OPERATOR])
    payload = msgspec.json.decode(decode64(good.payload)) | {"targets": ["ident"]}
    moved = SignedCommand(payload=encode64(msgspec.json.encode(payload)), signatures=good.signatures)
    with pytest.raises(CommandRefused, match="wrong"):
        verify(moved)
    head = msgspec.json.decode(decode64(good.signatures[0].protected))
    for change in ({"alg": "none"}, {"alg": "ES256"}, {"typ": "JWT"}, {"kid": "x"}, {"jku": "https://x"}, {"crit": []}):
        protected = encode64(msgspec.json.encode(head | change))
        forged = msgspec.structs.replace(good.signatures[0], protected=protected)
        with pytest.raises(CommandRefused) as caught:
            verify(SignedCommand(payload=good.payload, signatures=[forged]))
        assert caught.value.code == "signature"
