"""Whether a certificate that a peer presented is a roster member's, now. Pure.

The leaf must be signed by the signing key of the very member whose id it names: another member's key, however
well known, makes no name but its own. RFC 5280 for the fields.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from agents.contracts.identity import Member
from agents.contracts.ids import NodeId, is_node_id
from agents.core.errors import Rejected
from agents.core.jose import Jwk, import_public, thumbprint
from edge_commander.siblings.members import find, signing_key

LIFETIME_MS = 24 * 3600 * 1000
"""How long a leaf is valid from the moment it is made."""
BACKDATE_MS = 3600 * 1000
"""How long before that moment it is valid already: for siblings whose clocks are behind (nothing was signed then)."""
MAX_LEAF_BYTES = 4096
_KNOWN = (x509.SubjectAlternativeName, x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage)
_MALFORMED = (
    UnsupportedAlgorithm,ValueError, TypeError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.InvalidVersion,
              x509.UnsupportedGeneralNameType)  # fmt: skip


class PeerRefused(Rejected):
    """The certificate is no roster member's. The text says why and holds nothing secret."""


class NotValidNow(PeerRefused):
    """It is a member's and out of its time: the certificate is old, or one of two clocks is wrong."""


@dataclass(frozen=True)
class Peer:
    """Who is at the other end. `key`: thumbprint of the signing key that vouches; `until_ms`: the leaf's end, Unix."""

    node: NodeId
    key: str
    until_ms: int


def judge(der: bytes | None, roster: Sequence[Member], now_ms: int) -> Peer:
    """The peer that the leaf `der` proves, by this roster, at this time; raises PeerRefused, NotValidNow."""
    if not der or len(der) > MAX_LEAF_BYTES:
        raise PeerRefused("no certificate, or one that is too long")
    try:
        leaf = x509.load_der_x509_certificate(der)
        node = _name(leaf)
    except _MALFORMED:
        raise PeerRefused("the certificate is malformed") from None
    member = find(roster, node)
    key = signing_key(member) if member is not None else None
    if key is None:
        raise PeerRefused(f"{node} is not in the roster")
    if not _signed_by(leaf, key):
        raise PeerRefused(f"the certificate for {node} is not signed by the key that the roster names")
    try:
        _check_use(leaf)  # only now: what a stranger writes is read no further than its name
    except _MALFORMED:
        raise PeerRefused(f"the certificate of {node} is malformed") from None
    begin, end = _ms(leaf.not_valid_before_utc), _ms(leaf.not_valid_after_utc)
    if end - begin > LIFETIME_MS + BACKDATE_MS:
        raise PeerRefused(f"the certificate of {node} is valid for longer than a sibling's may be")
    if not begin <= now_ms < end:
        raise NotValidNow(f"the certificate of {node} is {'not yet' if now_ms < begin else 'no longer'} valid")
    return Peer(node, thumbprint(key), end)


def still(peer: Peer, roster: Sequence[Member], now_ms: int) -> None:
    """Checks a peer of an open connection against the roster as it is now; raises PeerRefused, NotValidNow."""
    member = find(roster, peer.node)
    key = signing_key(member) if member is not None else None
    if key is None or thumbprint(key) != peer.key:
        raise PeerRefused(f"{peer.node} is not in the roster any more, or has another key there")
    if now_ms >= peer.until_ms:
        raise NotValidNow(f"the certificate of {peer.node} is no longer valid")


def public_key(jwk: Jwk) -> ec.EllipticCurvePublicKey:
    """The library's key of a P-256 JWK."""
    key = import_public(msgspec.json.encode(jwk)).get_op_key("verify")
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _name(leaf: x509.Certificate) -> NodeId:
    names = list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    if len(names) != 1 or not isinstance(names[0], x509.DNSName) or not is_node_id(names[0].value):
        raise PeerRefused("the certificate must name one node id")
    return names[0].value


def _check_use(leaf: x509.Certificate) -> None:
    extensions = leaf.extensions
    if any(one.critical and not isinstance(one.value, _KNOWN) for one in extensions):
        raise PeerRefused("the certificate has a critical extension that is not known here")
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    extended = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    both = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    if not usage.digital_signature or usage.key_cert_sign or not both <= set(extended):
        raise PeerRefused("the certificate is not for talking between siblings")
    if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        raise PeerRefused("the certificate is an authority's")
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise PeerRefused("the certificate's key must be on P-256")


def _signed_by(leaf: x509.Certificate, key: Jwk) -> bool:
    try:
        if leaf.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
            return False
        public_key(key).verify(leaf.signature, leaf.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, *_MALFORMED):
        return False
    return True


def _ms(moment: datetime.datetime) -> int:
    return round(moment.timestamp() * 1000)
