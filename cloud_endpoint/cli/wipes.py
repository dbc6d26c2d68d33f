"""`galley site wipe-release`: a site's wipe grant is given back by an operator."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote

from cloud_endpoint.cli.arguments import SITE
from cloud_endpoint.cli.client import Client
from cloud_endpoint.cli.command.terminal import tell
from cloud_endpoint.cli.spec import Command


async def release(client: Client, options: argparse.Namespace) -> Any:
    """Gives it back."""
    done = await client.call("POST", f"/v1/admin/sites/{quote(options.id)}/wipe-release")
    if not done["changed"]:
        tell([f"no node of {options.id} held a grant: nothing changed"])
    return done


WIPES: tuple[Command, ...] = (
    Command(
        ("site", "wipe-release"),
        "give a site's wipe grant back, where the node that holds it will never answer",
        release,
        [SITE],
        ("changed",),
    ),
)
