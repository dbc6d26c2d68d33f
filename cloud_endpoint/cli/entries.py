"""Shipping entries as `galley` signs them, on the operator's machine. Touches the operator's key.

What is signed comes from the command line alone, never from an answer of the endpoint: the operator's word must not be
the endpoint's.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import msgspec

from agents.contracts.ids import hardware_digest, node_of
from agents.contracts.trust import EpochAuthorisation, ShippingEntry
from agents.core.entries import sign_authorisation, sign_entry
from agents.core.errors import Rejected
from cloud_endpoint.cli.arguments import SITE
from cloud_endpoint.cli.problems import told
from cloud_endpoint.cli.spec import Command, Flag
from cloud_endpoint.signing.keys import HELP, operators_key

KEY: dict[str, Any] = {"metavar": "KEY", "required": True, "help": HELP}
ENTRY_FLAGS: tuple[Flag, ...] = (
    ("--role", {"choices": ["server", "worker"], "default": "server", "help": "signed into the entry"}),
    ("--valid-days", {"type": int, "default": 0, "help": "after that the entry brings no new keys; 0: for ever"}),
    ("--sequence", {"type": int, "default": 0, "help": "of the entry; default: the time, Unix s"}),
)
PIN_FLAGS: tuple[Flag, ...] = (
    ("--signing", {"default": "", "help": "thumbprint of the only signing key, as the node's own status shows it"}),
    ("--sealing", {"default": "", "help": "thumbprint of the only sealing key"}),
)


def sign_shipped(options: argparse.Namespace, proof: str) -> Any:
    """The signed entry of a device, as JSON values; raises Rejected."""
    now = int(time.time())
    if not options.hardware_id.strip():
        raise Rejected("is empty", path="hardware_id")
    digest = hardware_digest(options.hardware_id)
    return _signed(
        options.key,
        node=node_of(digest),
        hardware=digest,
        site=options.site,
        name=options.name,
        role=options.role,
        proof=proof,
        sequence=options.sequence or now,
        issued=now,
        expires=now + options.valid_days * 86400 if options.valid_days else 0,
        signing=getattr(options, "signing", ""),
        sealing=getattr(options, "sealing", ""),
    )


def sign_withdrawal(options: argparse.Namespace) -> Any:
    """The signed withdrawal of a device at a site, as JSON values; raises Rejected."""
    now = int(time.time())
    return _signed(
        options.key,
        node=options.device,
        site=options.site,
        sequence=options.sequence or now,
        issued=now,
        withdrawn=True,
    )


async def authorise_epoch(client: None, options: argparse.Namespace) -> Any:
    """The signed authorisation of one more cluster of a site."""
    fields = {
        "site": options.site,
        "epoch": options.epoch,
        "previous": options.epoch - 1,
        "issued": int(time.time()),
        "reason": options.reason,
        "restore": options.restore,
    }
    try:
        found = msgspec.convert(fields, EpochAuthorisation)
    except msgspec.ValidationError as error:
        raise Rejected(f"the authorisation cannot be so: {told(error, EpochAuthorisation)}") from None
    return msgspec.to_builtins(sign_authorisation(found, operators_key(options.key)))


EPOCH = Command(
    ("epoch", "authorise"),
    "sign that a site may have one more cluster: prints the authorisation as JSON",
    authorise_epoch,
    [
        ("site", SITE[1]),
        ("--epoch", {"type": int, "required": True, "help": "the new one; it follows the one before"}),
        ("--reason", {"default": "", "help": "for people, signed too"}),
        ("--restore", {"action": "store_true", "help": "its cluster is made of the newest snapshot of the older one"}),
        ("--key", KEY),
    ],
    local=True,
)


def _signed(key: str, **fields: Any) -> Any:
    try:
        entry = msgspec.convert(fields, ShippingEntry)
    except msgspec.ValidationError as error:
        raise Rejected(f"the entry cannot be so: {told(error, ShippingEntry)}") from None
    return msgspec.to_builtins(sign_entry(entry, operators_key(key)))
