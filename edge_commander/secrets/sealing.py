"""A site's secrets on their way to one sibling: signed by the sender, then sealed to the recipient's key.

The signature is inside: it binds site, epoch, generation, sender and recipient to the secrets, so that what one
sibling was given is worth nothing at another, and nobody outside the roster can feed secrets to a node.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import msgspec

from agents.contracts.codec import ContractError, Struct, decode, encode
from agents.contracts.identity import Member
from agents.contracts.ids import NodeId, SiteId
from agents.core.errors import Rejected
from agents.core.jose import (
    SignatureRefused,
    Signer,
    SoftwareKey,
    canonical,
    read_payload,
    sign_compact,
    verify_compact,
)
from edge_commander.keys import DeviceKeys
from edge_commander.secrets.authority import check
from edge_commander.secrets.jwe import CEK_BYTES, IV_BYTES, SealRefused, seal, unseal
from edge_commander.secrets.model import SiteSecrets
from edge_commander.siblings.members import find, signing_key

TYPE = "galley-site-secrets"
Positive = Annotated[int, msgspec.Meta(ge=1)]


class Parcel(Struct, frozen=True, kw_only=True):
    """What the sender signs."""

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    site: SiteId
    epoch: Positive
    generation: Positive
    sender: NodeId
    recipient: NodeId
    secrets: SiteSecrets


def seal_secrets(secrets: SiteSecrets, *, sender: NodeId, signer: Signer, recipient: Member) -> str:
    """A compact JWE for that member alone. Raises Rejected where the roster has no sealing key of it."""
    try:
        key = canonical(recipient.sealing)
    except SignatureRefused:
        key = {}
    if key.get("crv") != "P-256":
        raise Rejected(f"the roster has no sealing key of {recipient.node}")
    parcel = Parcel(
        site=secrets.site,
        epoch=secrets.epoch,
        generation=secrets.generation,
        sender=sender,
        recipient=recipient.node,
        secrets=secrets,
    )
    signed = sign_compact(encode(parcel), signer, TYPE)
    return seal(
        signed.encode(),
        key,
        TYPE,
        ephemeral=SoftwareKey.generate(),
        content_key=os.urandom(CEK_BYTES),
        iv=os.urandom(IV_BYTES),
    )


def open_secrets(
    token: str, *, keys: DeviceKeys, node: NodeId, site: SiteId, epoch: int, senders: Sequence[Member]
) -> SiteSecrets:
    """The secrets that one of `senders` (roster members that may hold them) sealed for this node, site and epoch.

    Raises SealRefused, SecretsUnsound, and what the key store raises. No text holds any of the content.
    """
    inner = unseal(token, keys.sealing, keys.agree, TYPE)
    try:
        signed = inner.decode("ascii")
        claimed = decode(read_payload(signed), Parcel)
        member = find(senders, claimed.sender)
        key = signing_key(member) if member is not None else None
        if key is None:
            raise SealRefused("its sender is no server of this site's roster")
        parcel = decode(verify_compact(signed, key, types=frozenset({TYPE})), Parcel)
    except (UnicodeDecodeError, ContractError, SignatureRefused):
        raise SealRefused("what was sealed is not signed by a server of the roster") from None
    secrets = parcel.secrets
    if (parcel.site, parcel.epoch, parcel.generation) != (secrets.site, secrets.epoch, secrets.generation):
        raise SealRefused("the parcel and what is in it differ")
    if parcel.recipient != node:
        raise SealRefused("it was made for another node")
    if (secrets.site, secrets.epoch) != (site, epoch):
        raise SealRefused(f"it is of {secrets.site}, epoch {secrets.epoch}")
    check(secrets)
    return secrets
