"""A sibling's certificate: made by a device key that only signs, and judged by the roster alone."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agents.contracts.identity import Member
from agents.contracts.ids import node_id
from agents.core.errors import Rejected
from agents.core.jose import SoftwareKey, thumbprint
from edge_commander.siblings.issuing import SignerKey, issue_leaf
from edge_commander.siblings.members import find, place, trusted_keys
from edge_commander.siblings.verify import BACKDATE_MS, LIFETIME_MS, NotValidNow, PeerRefused, judge, still

NOW = 1_800_000_000_000
HOUR = 3600 * 1000
A, B = node_id("nuc-a"), node_id("nuc-b")
KEY_A, KEY_B, STRANGER = (SoftwareKey.generate() for _ in range(3))
FILE_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
ROSTER = [
    Member(node=A, name="a", signing=KEY_A.public),
    Member(node=B, name="b", signing=KEY_B.public),
]
Change = Callable[[x509.CertificateBuilder], x509.CertificateBuilder]


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def usage(*, sign: bool = True, ca: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(sign, False, False, False, False, ca, False, False, False)


def crafted(
    signer: SoftwareKey = KEY_A,
    names: list[x509.GeneralName] | None = None,
    key: object = FILE_KEY,
    end_ms: int = NOW + HOUR,
    ca: bool = False,
    key_usage: x509.KeyUsage | None = None,
    uses: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    leave_out: type[x509.ExtensionType] | None = None,
    more: x509.ExtensionType | None = None,
) -> bytes:
    """A certificate that the device key signed, wrong in one thing."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, A)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key)  # type: ignore[arg-type]
        .serial_number(7)
        .not_valid_before(datetime.datetime.fromtimestamp(NOW / 1000, datetime.UTC))
        .not_valid_after(datetime.datetime.fromtimestamp(end_ms / 1000, datetime.UTC))
    )
    for extension in (
        x509.SubjectAlternativeName([x509.DNSName(A)] if names is None else names),
        x509.BasicConstraints(ca=ca, path_length=None),
        key_usage or usage(),
        x509.ExtendedKeyUsage(uses),
    ):
        if type(extension) is not leave_out:
            builder = builder.add_extension(extension, critical=False)
    if more is not None:
        builder = builder.add_extension(more, critical=True)
    return der(builder.sign(SignerKey(signer), hashes.SHA256()))


def test_a_leaf_is_its_members_for_a_day_and_an_hour_before() -> None:
    leaf = der(issue_leaf(A, KEY_A, FILE_KEY, NOW))
    for now in (NOW - BACKDATE_MS, NOW, NOW + LIFETIME_MS - 1000):
        peer = judge(leaf, ROSTER, now)
        assert (peer.node, peer.key, peer.until_ms) == (A, thumbprint(KEY_A.public), NOW + LIFETIME_MS)
    for now in (NOW - BACKDATE_MS - 1000, NOW + LIFETIME_MS, 0, NOW * 2):
        with pytest.raises(NotValidNow):
            judge(leaf, ROSTER, now)
    assert judge(crafted(), ROSTER, NOW).node == A, "what the crafted ones below differ from"


@pytest.mark.parametrize(
    ("leaf", "cause"),
    [
        (der(issue_leaf(A, STRANGER, FILE_KEY, NOW)), "not signed by the key"),
        (der(issue_leaf(B, KEY_A, FILE_KEY, NOW)), "not signed by the key"),
        (der(issue_leaf(node_id("nuc-z"), STRANGER, FILE_KEY, NOW)), "not in the roster"),
        (crafted(names=[]), "name one node id"),
        (crafted(names=[x509.DNSName(A), x509.DNSName(B)]), "name one node id"),
        (crafted(names=[x509.DNSName("kitchen")]), "name one node id"),
        (crafted(names=[x509.DNSName("x." + A)]), "name one node id"),
        (crafted(names=[x509.UniformResourceIdentifier(A)]), "name one node id"),
        (crafted(end_ms=NOW + LIFETIME_MS + BACKDATE_MS + 1000), "for longer"),
        (crafted(ca=True), "an authority's"),
        (crafted(key_usage=usage(ca=True)), "not for talking"),
        (crafted(key_usage=usage(sign=False)), "not for talking"),
        (crafted(uses=(ExtendedKeyUsageOID.SERVER_AUTH,)), "not for talking"),
        (crafted(uses=(ExtendedKeyUsageOID.CLIENT_AUTH,)), "not for talking"),
        (crafted(leave_out=x509.KeyUsage), "malformed"),
        (crafted(leave_out=x509.ExtendedKeyUsage), "malformed"),
        (crafted(leave_out=x509.BasicConstraints), "malformed"),
        (crafted(leave_out=x509.SubjectAlternativeName), "malformed"),
        (crafted(more=x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")), "not known here"),
        (crafted(key=ec.generate_private_key(ec.SECP384R1()).public_key()), "P-256"),
        (b"", "no certificate"),
        (b"0" * 5000, "too long"),
        (b"\x30\x03\x02\x01\x01", "malformed"),
    ],
)
def test_what_is_no_members_leaf_is_refused(leaf: bytes, cause: str) -> None:
    with pytest.raises(PeerRefused, match=cause):
        judge(leaf, ROSTER, NOW + 1000)


def test_no_byte_of_a_leaf_may_change() -> None:
    """But the count of unused bits before the signature, which the library does not read: it says nothing."""
    certificate = issue_leaf(A, KEY_A, FILE_KEY, NOW)
    leaf = der(certificate)
    accepted = []
    for index in set(range(len(leaf))) - {leaf.index(certificate.signature) - 1}:
        changed = leaf[:index] + bytes([leaf[index] ^ 1]) + leaf[index + 1 :]
        try:
            judge(changed, ROSTER, NOW)
        except PeerRefused:
            continue
        accepted.append(index)
    assert accepted == []


def test_an_open_connection_ends_with_the_roster_entry_its_key_and_the_leaf() -> None:
    peer = judge(der(issue_leaf(A, KEY_A, FILE_KEY, NOW)), ROSTER, NOW)
    still(peer, ROSTER, NOW)
    with pytest.raises(PeerRefused):
        still(peer, ROSTER[1:], NOW)
    with pytest.raises(PeerRefused):
        still(peer, [Member(node=A, name="a", signing=STRANGER.public), ROSTER[1]], NOW)
    with pytest.raises(NotValidNow):
        still(peer, ROSTER, NOW + LIFETIME_MS)


def test_members_without_a_usable_key_or_twice_in_the_roster_are_none() -> None:
    odd = [
        Member(node=A, name="a"),
        Member(node=B, name="b", signing=SoftwareKey.generate("Ed25519").public),
        Member(node="n-short", name="c", signing=KEY_A.public),
        Member(node=node_id("d"), name="d", signing={"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
    ]
    assert trusted_keys(odd) == ()
    assert trusted_keys([*ROSTER, Member(node=A, name="a", signing=STRANGER.public)])[0][0] == B
    assert len(trusted_keys(ROSTER)) == 2
    assert find(ROSTER, A) == ROSTER[0] and find([*ROSTER, ROSTER[0]], A) is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.3", ("10.0.0.3", 9411)),
        ("10.0.0.3:9500", ("10.0.0.3", 9500)),
        ("fd00::3", ("fd00::3", 9411)),
        ("[fd00::3]", ("fd00::3", 9411)),
        ("[fd00::3]:9500", ("fd00::3", 9500)),
    ],
)
def test_where_a_member_listens(address: str, expected: tuple[str, int]) -> None:
    assert place(Member(node=A, name="a", address=address), 9411) == expected


@pytest.mark.parametrize(
    "address",
    ["", "nuc-a", "nuc-a:1", "10.0.0.3:0", "10.0.0.3:70000", "10.0.0.3:", "[::1", "::1]:3", "fe80::1%" + "x" * 64,
     "fe80::1%eno1\n10.0.0.9 api", "fe80::1%é"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(address: str) -> None:
    """Also where the zone is no interface's: the library takes any text, and with 64 letters of it the lookup ended the
    commander by UnicodeError."""
    with pytest.raises(Rejected, match="no IP address"):
        place(Member(node=A, name="a", address=address), 9411)


def test_a_device_key_in_the_dress_of_a_private_key_gives_nothing_but_signatures() -> None:
    key = SignerKey(KEY_A)
    with pytest.raises(TypeError):
        key.private_numbers()
    with pytest.raises(TypeError):
        key.private_bytes(None, None, None)
    with pytest.raises(TypeError):
        key.exchange(ec.ECDH(), FILE_KEY)
    with pytest.raises(TypeError):
        key.sign(b"x", ec.ECDSA(hashes.SHA512()))
    key.public_key().verify(key.sign(b"x", ec.ECDSA(hashes.SHA256())), b"x", ec.ECDSA(hashes.SHA256()))
    assert repr(key) == "SignerKey()"
