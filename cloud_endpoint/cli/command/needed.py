"""How many operators must have signed, as far as the endpoint tells: a help for people, the nodes judge themselves."""

from __future__ import annotations

from typing import Any

from agents.contracts.command import Command
from agents.core.command_rules import signatures_needed, wide
from agents.core.errors import Rejected
from cloud_endpoint.cli.client import Client


async def threshold(client: Client) -> int | None:
    """That of the newest operators' document; 1 where there is none, None where this login may not see them."""
    try:
        found: Any = await client.call("GET", "/v1/admin/operators-documents")
        documents = found["documents"]
        return int(documents[-1]["threshold"]) if documents else 1
    except (Rejected, KeyError, TypeError, ValueError):
        return None


def missing(command: Command, signatures: int, of_document: int | None) -> str:
    """What is said where more must sign; empty where it is enough, or not known."""
    if of_document is None:
        return ""
    lacking = signatures_needed(command, of_document) - signatures
    if lacking <= 0:
        return ""
    more = f"{lacking} more operator{'s' if lacking > 1 else ''} must sign"
    why = wide(command)
    return f"{more}: {why}" if why else more
