"""Shipping entries and epoch authorisations: an operator's word on a machine, and on one more cluster. Pure."""

from __future__ import annotations

from agents.contracts.ids import node_of
from agents.contracts.signed import SignedDocument
from agents.contracts.trust import EpochAuthorisation, ShippingEntry
from agents.core.jose import SignatureRefused, Signer
from agents.core.operators import Operators
from agents.core.signed import read_payload, sign_document, signers_of
from agents.core.trust_codes import TrustCode, TrustRefused

ENTRY_TYPE = "galley-shipping+jws"
EPOCH_TYPE = "galley-epoch+jws"


def sign_entry(entry: ShippingEntry, signer: Signer) -> SignedDocument:
    """Signed by one operator; raises TrustRefused for an entry that nobody would take."""
    _consistent(entry)
    return sign_document(entry, [signer], ENTRY_TYPE)


def verify_entry(signed: SignedDocument, operators: Operators) -> ShippingEntry:
    """The entry, where an operator whose word counts signed it and it is sound in itself; raises TrustRefused."""
    entry = read_entry(signed)
    keys = {kid: one.key for kid, one in operators.keys.items()}
    try:
        kids = signers_of(signed.payload, signed.signatures, keys, ENTRY_TYPE)
    except SignatureRefused as error:
        raise TrustRefused(TrustCode.ENTRY_SIGNATURE, f"{entry.node}: {error.cause}") from None
    if not any(operators.counts(kid, entry.issued) for kid in kids):
        text = f"{entry.node}: its operator's key was retired before the entry was issued"
        raise TrustRefused(TrustCode.ENTRY_SIGNATURE, text)
    _consistent(entry)
    return entry


def read_entry(signed: SignedDocument) -> ShippingEntry:
    """The payload, nothing verified; raises TrustRefused."""
    try:
        return read_payload(signed, ShippingEntry)
    except SignatureRefused as error:
        raise TrustRefused(TrustCode.ENTRY_PAYLOAD, error.cause) from None


def sign_authorisation(authorisation: EpochAuthorisation, signer: Signer) -> SignedDocument:
    """Signed by one operator."""
    return sign_document(authorisation, [signer], EPOCH_TYPE)


def verify_authorisation(
    signed: SignedDocument | None, operators: Operators, *, site: str, epoch: int
) -> EpochAuthorisation:
    """The authorisation of exactly this epoch of this site; raises TrustRefused."""
    code = TrustCode.EPOCH_AUTHORISATION
    if signed is None:
        raise TrustRefused(code, f"epoch {epoch} has no operator's authorisation")
    try:
        found = read_payload(signed, EpochAuthorisation)
        kids = signers_of(signed.payload, signed.signatures, {k: o.key for k, o in operators.keys.items()}, EPOCH_TYPE)
    except SignatureRefused as error:
        raise TrustRefused(code, error.cause) from None
    if not any(operators.counts(kid, found.issued) for kid in kids):
        raise TrustRefused(code, "its operator's key was retired before it was issued")
    if found.site != site:
        raise TrustRefused(code, "the authorisation is for another site")
    if found.epoch != epoch or found.previous != epoch - 1:
        raise TrustRefused(
            code, f"the authorisation is for epoch {found.epoch} after {found.previous}, not for {epoch}"
        )
    return found


def _consistent(entry: ShippingEntry) -> None:
    if entry.withdrawn:
        return
    if not entry.hardware or node_of(entry.hardware) != entry.node:
        raise TrustRefused(TrustCode.ENTRY_NODE, f"{entry.node}: the entry's hardware is another machine's")
    if not entry.name:
        raise TrustRefused(TrustCode.ENTRY_MISMATCH, f"{entry.node}: the entry names no node name")
