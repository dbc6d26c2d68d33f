"""`galley site upgrade` and `galley site rotate`: orders to a whole site, signed with the operator's key where there is
one.

What is signed comes from the command line and the clock of this machine, never from an answer of the endpoint.
"""

from __future__ import annotations

import argparse
import time
from typing import Any
from urllib.parse import quote

import msgspec

from agents.contracts.orders import OrderKind, SiteOrder
from agents.core.errors import Rejected
from agents.core.orders import sign_order
from cloud_endpoint.cli.arguments import SITE
from cloud_endpoint.cli.client import Client
from cloud_endpoint.cli.entries import KEY
from cloud_endpoint.cli.problems import told
from cloud_endpoint.cli.spec import Command, Flag
from cloud_endpoint.signing.keys import HELP, operators_key


async def upgrade(client: Client, options: argparse.Namespace) -> Any:
    """Orders another version."""
    return await _give(client, options, kind=OrderKind.UPGRADE, version=options.to)


async def rotate(client: Client, options: argparse.Namespace) -> Any:
    """Orders new secrets."""
    return await _give(client, options, kind=OrderKind.ROTATE, generation=options.generation)


async def listed(client: Client, options: argparse.Namespace) -> Any:
    """The newest order of each kind."""
    return await client.call("GET", f"/v1/admin/sites/{quote(options.id)}/orders")


async def _give(client: Client, options: argparse.Namespace, **fields: Any) -> Any:
    now = int(time.time())
    fields |= {"site": options.id, "epoch": options.epoch, "number": options.number or now, "issued_at": now}
    try:
        order = msgspec.convert(fields, SiteOrder)
    except msgspec.ValidationError as error:
        raise Rejected(f"the order cannot be so: {told(error, SiteOrder)}") from None
    given = {"order": order} if options.key is None else {"signed": sign_order(order, operators_key(options.key))}
    return await client.call("POST", f"/v1/admin/sites/{quote(options.id)}/orders", msgspec.to_builtins(given))


_FLAGS: tuple[Flag, ...] = (
    ("--epoch", {"type": int, "default": 1, "help": "of the cluster that it is for (default: 1)"}),
    ("--number", {"type": int, "default": 0, "help": "above that of all orders before; default: the time, Unix s"}),
    (
        "--key",
        {**KEY, "required": False, "help": f"{HELP}; a fleet with operators needs it"},
    ),
)
_COLUMNS = ("order.site", "order.kind", "order.number", "order.version", "order.generation", "order.epoch", "current")
ORDERS: tuple[Command, ...] = (
    Command(
        ("site", "upgrade"),
        "order that a site goes to another version of Kubernetes, one node after another",
        upgrade,
        [SITE, ("--to", {"required": True, "metavar": "VERSION", "help": "such as 1.36.3"}), *_FLAGS],
        _COLUMNS,
    ),
    Command(
        ("site", "rotate"),
        "order that a site changes its secrets",
        rotate,
        [
            SITE,
            ("--generation", {"type": int, "default": 0, "help": "of the secrets that are to come; 0: the next one"}),
            *_FLAGS,
        ],
        _COLUMNS,
    ),
    Command(("site", "orders"), "the newest order to a site of each kind", listed, [SITE], _COLUMNS),
)
