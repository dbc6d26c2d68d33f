"""How a site's secrets travel: JWE by the RFCs' vectors and another implementation, and every way to be refused."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest
from joserfc import jwe as other_jwe
from joserfc.jwk import ECKey

from agents.contracts.codec import encode
from agents.contracts.identity import Member
from agents.contracts.ids import node_id
from agents.core.errors import Rejected
from agents.core.jose import SignatureRefused, SoftwareKey, decode64, encode64, sign_compact, thumbprint
from edge_commander.keys import FileDeviceKeys
from edge_commander.secrets import jwe
from edge_commander.secrets.authority import SecretsUnsound, make_secrets
from edge_commander.secrets.jwe import SealRefused, concat_kdf, seal, unseal
from edge_commander.secrets.model import SiteSecrets
from edge_commander.secrets.sealing import TYPE, Parcel, open_secrets, seal_secrets
from tests.fakes.siblings import TurnedTime

SITE = "store-01234"
A, B, C = (node_id(name) for name in ("nuc-a", "nuc-b", "nuc-c"))
EC_KEY = {"kty": "EC", "crv": "P-256"}
ALICE = EC_KEY | {
    "x": "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0",
    "y": "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps",
    "d": "0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo",
}
BOB = EC_KEY | {
    "x": "weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ",
    "y": "e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck",
    "d": "VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw",
}
"""Keys of RFC 7518 appendix C."""


def device() -> FileDeviceKeys:
    return FileDeviceKeys(SoftwareKey.generate(), SoftwareKey.generate())


KEYS_A, KEYS_B, KEYS_C = device(), device(), device()


def member(node: str, keys: FileDeviceKeys) -> Member:
    return Member(node=node, name=node, signing=keys.signer.public, sealing=keys.sealing)


ROSTER = [member(A, KEYS_A), member(B, KEYS_B), member(C, KEYS_C)]
SECRETS = make_secrets(SITE, 3, TurnedTime())


def sealed(**more: Any) -> str:
    return seal_secrets(**{"secrets": SECRETS, "sender": A, "signer": KEYS_A.signer, "recipient": ROSTER[1], **more})


def opened(token: str, **more: Any) -> SiteSecrets:
    return open_secrets(token, **{"keys": KEYS_B, "node": B, "site": SITE, "epoch": 3, "senders": ROSTER, **more})


def sealed_raw(inner: bytes, typ: str = TYPE) -> str:
    return seal(
        inner, KEYS_B.sealing, typ, ephemeral=SoftwareKey.generate(), content_key=os.urandom(32), iv=os.urandom(12)
    )


def private(key: SoftwareKey) -> ECKey:
    return ECKey.import_key(key.private())


def test_key_agreement_and_derivation_by_rfc_7518_appendix_c() -> None:
    alice, bob = SoftwareKey(ALICE), SoftwareKey(BOB)
    shared = alice.agree(bob.public)
    assert shared == bob.agree(alice.public) and shared[:8] == bytes([158, 86, 217, 29, 129, 113, 53, 211])
    assert encode64(concat_kdf(shared, "A128GCM", 128, b"Alice", b"Bob")) == "VqqN6vgjbSBcIijNcacQGg"
    with pytest.raises(ValueError, match="one round"):
        concat_kdf(shared, "A256CBC-HS512", 512)


def test_only_p256_keys_agree() -> None:
    key = SoftwareKey.generate()
    for wrong in ({**key.public, "y": key.public["x"]}, SoftwareKey.generate("Ed25519").public, {}):
        with pytest.raises(SignatureRefused):
            key.agree(wrong)
    with pytest.raises(SignatureRefused):
        SoftwareKey.generate("Ed25519").agree(key.public)


def test_another_implementation_opens_what_is_sealed_here() -> None:
    key = SoftwareKey.generate()
    token = seal(b"hello", key.public, "x", ephemeral=SoftwareKey.generate(), content_key=os.urandom(32),
                 iv=os.urandom(12))  # fmt: skip
    found = other_jwe.decrypt_compact(token, private(key), algorithms=["ECDH-ES+A256KW", "A256GCM"])
    assert found.plaintext == b"hello"
    assert set(found.protected) == {"alg", "enc", "epk", "kid", "typ"}


def test_what_another_implementation_seals_is_opened_here() -> None:
    key = SoftwareKey.generate()
    header = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM", "kid": thumbprint(key.public), "typ": "x"}
    algorithms = ["ECDH-ES+A256KW", "A256GCM", "ECDH-ES+A128KW", "ECDH-ES", "A128GCM", "DEF"]
    token = other_jwe.encrypt_compact(header, b"hello", ECKey.import_key(key.public), algorithms=algorithms)
    assert unseal(token, key.public, key.agree, "x") == b"hello"
    for change in (
        {"alg": "ECDH-ES+A128KW"},
        {"alg": "ECDH-ES"},
        {"enc": "A128GCM"},
        {"zip": "DEF"},
        {"apu": "QWxpY2U"},
        {"typ": "y"},
        {"kid": thumbprint(KEYS_A.sealing)},
        {"cty": "x"},
    ):
        token = other_jwe.encrypt_compact(
            {**header, **change}, b"hello", ECKey.import_key(key.public), algorithms=algorithms
        )
        with pytest.raises(SealRefused):
            unseal(token, key.public, key.agree, "x")


def test_a_sibling_opens_what_a_server_sealed_for_it() -> None:
    token = sealed()
    assert opened(token) == SECRETS
    assert len(token) < jwe.MAX_CHARS // 2
    assert sealed() != token, "never the same twice"


def test_no_character_of_a_token_may_change() -> None:
    token = sealed()
    step = 1 if len(token) < 2000 else 7
    places = {*range(0, len(token), step), *range(320), *range(len(token) - 30, len(token))}
    dots = [index for index, char in enumerate(token) if char == "."]
    for index in sorted(places | {d + n for d in dots for n in (-1, 0, 1)}):
        for other in "AQgw.-=" if index in {d - 1 for d in dots} | {len(token) - 1} else "A":
            if token[index] != other:
                with pytest.raises(SealRefused):
                    opened(token[:index] + other + token[index + 1 :])


@pytest.mark.parametrize(
    "change",
    [
        {"keys": KEYS_C, "node": C},
        {"node": C},
        {"site": "store-99999"},
        {"epoch": 2},
        {"epoch": 4},
        {"senders": ROSTER[1:]},
        {"senders": []},
        {"senders": [member(A, KEYS_C), *ROSTER[1:]]},
        {"senders": [ROSTER[0], *ROSTER]},
    ],
    ids=["another's key", "another node", "site", "older epoch", "newer epoch", "sender left", "no sender",
         "sender's key changed", "sender stands twice"],
)  # fmt: skip
def test_a_parcel_is_for_one_node_site_epoch_and_by_one_server(change: dict[str, Any]) -> None:
    with pytest.raises(SealRefused):
        opened(sealed(), **change)


def parcel(**more: Any) -> bytes:
    fields = {"site": SITE, "epoch": 3, "generation": 1, "sender": A, "recipient": B, "secrets": SECRETS, **more}
    return encode(Parcel(**fields))


@pytest.mark.parametrize(
    "inner",
    [
        sign_compact(parcel(), KEYS_C.signer, TYPE),
        sign_compact(parcel(sender=C), KEYS_A.signer, TYPE),
        sign_compact(parcel(), KEYS_A.signer, "JWT"),
        sign_compact(parcel(recipient=C), KEYS_A.signer, TYPE),
        sign_compact(parcel(epoch=4), KEYS_A.signer, TYPE),
        sign_compact(parcel(generation=2), KEYS_A.signer, TYPE),
        sign_compact(parcel(site="store-99999"), KEYS_A.signer, TYPE),
        sign_compact(b"{}", KEYS_A.signer, TYPE),
        sign_compact(parcel().replace(b'"v":1', b'"v":2', 1), KEYS_A.signer, TYPE),
        encode64(b'{"alg":"none"}') + "." + encode64(parcel()) + ".",
        parcel().decode(),
        "",
        "\xff",
    ],
)
def test_what_no_server_signed_is_refused_even_when_well_sealed(inner: str) -> None:
    """A stranger can seal to a public key; the signature inside is what counts."""
    with pytest.raises(SealRefused):
        opened(sealed_raw(inner.encode("latin-1")))


def test_what_was_signed_for_one_sibling_cannot_be_sealed_on_to_another() -> None:
    inner = unseal(sealed(), KEYS_B.sealing, KEYS_B.agree, TYPE)
    forwarded = seal(
        inner, KEYS_C.sealing, TYPE, ephemeral=SoftwareKey.generate(), content_key=os.urandom(32), iv=os.urandom(12)
    )
    with pytest.raises(SealRefused, match="another node"):
        opened(forwarded, keys=KEYS_C, node=C)


@pytest.mark.parametrize("field", ["cluster", "etcd", "front_proxy"])
def test_secrets_that_do_not_fit_together_are_refused(field: str) -> None:
    authority = getattr(SECRETS, field)
    other = SECRETS.etcd if field != "etcd" else SECRETS.cluster
    for wrong in (
        msgspec.structs.replace(authority, key=other.key),
        msgspec.structs.replace(authority, cert=other.cert),
        msgspec.structs.replace(authority, cert=authority.cert[:100]),
        msgspec.structs.replace(authority, key="no key"),
        other,
    ):
        with pytest.raises(SecretsUnsound) as error:
            opened(sealed(secrets=msgspec.structs.replace(SECRETS, **{field: wrong})))
        assert "PRIVATE" not in str(error.value)
    with pytest.raises(SecretsUnsound):
        opened(sealed(secrets=msgspec.structs.replace(SECRETS, service_account_key=SECRETS.etcd.key)))


def test_nothing_is_sealed_for_a_member_without_a_sealing_key() -> None:
    for key in ({}, SoftwareKey.generate("Ed25519").public, {"kty": "EC"}):
        with pytest.raises(Rejected, match="no sealing key"):
            sealed(recipient=Member(node=B, name="b", sealing=key))


def test_nothing_secret_shows() -> None:
    token = sealed()
    shown = [repr(SECRETS), str(SECRETS), repr(SECRETS.cluster), repr(KEYS_B)]
    for change in ({"epoch": 9}, {"senders": []}, {"node": C}, {"keys": KEYS_C}):
        with pytest.raises(Rejected) as error:
            opened(token, **change)
        shown += [str(error.value), repr(error.value)]
    held = [SECRETS.token, *decode_pems(SECRETS), token.split(".")[3][:40]]
    assert not [secret for secret in held if any(secret in text for text in shown)]


def decode_pems(secrets: SiteSecrets) -> list[str]:
    keys = (secrets.cluster.key, secrets.etcd.key, secrets.front_proxy.key, secrets.service_account_key)
    return [line for key in keys for line in key.splitlines()[1:-1]]


@pytest.mark.parametrize(
    "token", ["", "a.b.c", "....", "a.b.c.d.e.f", "e30.AA.AA.AA.AA", "W10.AA.AA.AA.AA", "x" * 40000]
)
def test_rubbish_is_refused(token: str) -> None:
    with pytest.raises(SealRefused):
        opened(token)


def test_a_header_holds_nothing_but_its_five_members() -> None:
    token = sealed()
    head, rest = token.split(".", 1)
    header = msgspec.json.decode(decode64(head))
    for change in ({"crit": ["x"]}, {"jku": "https://x"}, {"p2c": 1}, {"epk": {**header["epk"], "d": "AA"}},
                   {"epk": {**header["epk"], "kid": "x"}}, {"epk": "x"}, {"epk": {}},
                   {"epk": {**header["epk"], "y": header["epk"]["x"]}}, {"alg": 1}):  # fmt: skip
        with pytest.raises(SealRefused):
            opened(encode64(msgspec.json.encode({**header, **change})) + "." + rest)
