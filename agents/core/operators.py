"""Operators' documents: whose signatures count, and which document may follow which. Pure.

The first one is believed because it came with the configuration. Each later one counts because enough keys of the one
before it signed it, in order and without a gap; the endpoint only carries it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agents.contracts.signed import SignedDocument
from agents.contracts.trust import OperatorKey, OperatorsDocument
from agents.core.jose import Jwk, SignatureRefused, Signer, canonical, thumbprint
from agents.core.signed import read_payload, sign_document, signers_of
from agents.core.trust_codes import TrustCode, TrustRefused

OPERATORS_TYPE = "galley-operators+jws"


@dataclass(frozen=True)
class Operators:
    """What a document says, keys by thumbprint. Generation 0: the plain list of keys that older configurations hold."""

    generation: int
    keys: Mapping[str, OperatorKey]
    threshold: int = 1
    roster_keys: Mapping[str, Jwk] = field(default_factory=dict)

    @property
    def signing(self) -> Mapping[str, Jwk]:
        """Keys that may sign something new: commands, entries, the next document."""
        return {kid: one.key for kid, one in self.keys.items() if not one.retired}

    def counts(self, kid: str, issued: int) -> bool:
        """Whether a signature of this key counts on something that says it was issued then, Unix s."""
        known = self.keys.get(kid)
        return known is not None and (not known.retired or issued <= known.retired)


def plain_operators(keys: Sequence[Jwk]) -> Operators:
    """Generation 0 of a list of public keys; raises SignatureRefused for a key that is not Ed25519."""
    checked = [_ed25519(jwk) for jwk in keys]
    return Operators(0, {thumbprint(key): OperatorKey(name="", key=key) for key in checked})


def operators_of(document: OperatorsDocument) -> Operators:
    """The document's content, checked in itself; raises TrustRefused."""
    keys: dict[str, OperatorKey] = {}
    try:
        for one in document.keys:
            key = _ed25519(one.key)
            keys[thumbprint(key)] = OperatorKey(name=one.name, key=key, retired=one.retired)
        roster_keys = roster_key_table(document.roster_keys)
    except SignatureRefused as error:
        raise TrustRefused(TrustCode.OPERATORS_KEYS, error.cause) from None
    if len(keys) != len(document.keys) or len({one.name for one in document.keys}) != len(document.keys):
        raise TrustRefused(TrustCode.OPERATORS_KEYS, "a key or a name stands twice")
    found = Operators(document.generation, keys, document.threshold, roster_keys)
    if len(found.signing) < document.threshold:
        text = (
            f"the threshold is {document.threshold}, and {len(found.signing)} key(s) may sign: no document could follow"
        )
        raise TrustRefused(TrustCode.OPERATORS_KEYS, text)
    return found


def roster_key_table(keys: Iterable[Jwk]) -> dict[str, Jwk]:
    """Public keys that may sign rosters, by thumbprint; raises SignatureRefused for one that is not ES256."""
    found = {}
    for jwk in keys:
        key = canonical(jwk)
        if key["crv"] != "P-256":
            raise SignatureRefused("a roster key must be on P-256")
        found[thumbprint(key)] = key
    return found


def sign_operators(document: OperatorsDocument, signers: Sequence[Signer]) -> SignedDocument:
    """The signed document; raises TrustRefused for one that nobody could take."""
    operators_of(document)
    return sign_document(document, signers, OPERATORS_TYPE)


def read_operators_document(signed: SignedDocument) -> Operators:
    """What it says, no signature checked: for a document that is believed for where it came from."""
    try:
        return operators_of(read_payload(signed, OperatorsDocument))
    except TrustRefused:
        raise
    except SignatureRefused as error:
        raise TrustRefused(TrustCode.OPERATORS_PAYLOAD, error.cause) from None


def first_operators(signed: SignedDocument) -> Operators:
    """A first document, signed by a key of its own; raises TrustRefused. That alone makes it nobody's: see above."""
    found = read_operators_document(signed)
    if found.generation != 1:
        raise TrustRefused(TrustCode.OPERATORS_GENERATION, f"the first document is 1, not {found.generation}")
    _signed_by(signed, found.signing, 1)
    return found


def next_operators(now: Operators, signed: SignedDocument) -> Operators:
    """The document that follows `now`; raises TrustRefused."""
    found = read_operators_document(signed)
    if found.generation != now.generation + 1:
        text = f"document {found.generation} does not follow {now.generation}"
        raise TrustRefused(TrustCode.OPERATORS_GENERATION, text)
    _signed_by(signed, now.signing, now.threshold)
    return found


def follow(
    root: Operators, documents: Sequence[SignedDocument]
) -> tuple[Operators, list[SignedDocument], TrustRefused | None]:
    """As far as a chain leads from `root`: the last content, the documents taken, and why the next one was not.

    Documents of a generation at or below the one reached are passed over: they were taken before, or never count.
    """
    reached, taken = root, list[SignedDocument]()
    for signed in documents:
        try:
            if read_operators_document(signed).generation <= reached.generation:
                continue
            reached = next_operators(reached, signed)
        except TrustRefused as refused:
            return reached, taken, refused
        taken.append(signed)
    return reached, taken, None


def _signed_by(signed: SignedDocument, keys: Mapping[str, Jwk], threshold: int) -> None:
    try:
        found = signers_of(signed.payload, signed.signatures, keys, OPERATORS_TYPE)
    except SignatureRefused as error:
        raise TrustRefused(TrustCode.OPERATORS_SIGNATURE, error.cause) from None
    if len(found) < threshold:
        raise TrustRefused(TrustCode.OPERATORS_THRESHOLD, f"signed by {len(found)} key(s), {threshold} are needed")


def _ed25519(jwk: Jwk) -> Jwk:
    key = canonical(jwk)
    if key["crv"] != "Ed25519":
        raise SignatureRefused("must be an Ed25519 key")
    return key
