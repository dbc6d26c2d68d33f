"""SQL of whose signature a command needs here: operators' keys, their threshold, and the fleet's blast radius.

Where an operators' document was pushed, its keys count, as on the nodes; else those that operators registered.
"""

from __future__ import annotations

from agents.contracts.command import Command
from agents.core.command_rules import ERASES
from agents.core.jose import Jwk
from cloud_endpoint.store import clients, trust
from cloud_endpoint.store.port import Tx

WINDOW_MS = 24 * 3600 * 1000


def of(tx: Tx) -> tuple[dict[str, Jwk], int]:
    """Keys that may sign commands, by thumbprint, and how many must past a blast radius. A retired key is none of
    them, nor is the key of an operator whose rights here were ended."""
    document = trust.newest(tx)
    if document is None:
        return clients.command_keys(tx), 1
    ended = clients.ended_command_kids(tx)
    return {kid: key for kid, key in document.signing.items() if kid not in ended}, document.threshold


def asked_for(tx: Tx, command: Command, threshold: int, radius: int) -> tuple[int, str]:
    """How many operators must sign it for what else was sent lately, and why; 0 where its own rule is enough.

    `radius`: sites of the whole fleet that one operator's word may wipe within 24 h. Every command sent counts, also
    one that its node refused.
    """
    if command.verb not in ERASES:
        return 0, ""
    verbs = sorted(verb.value for verb in ERASES)
    rows = tx.execute(
        f"SELECT DISTINCT site FROM commands WHERE verb IN ({', '.join('?' * len(verbs))}) AND created_ms > ?",  # noqa: S608
        (*verbs, tx.now_ms - WINDOW_MS),
    )
    sites = {str(row["site"]) for row in rows} | {command.site}
    if len(sites) <= radius:
        return 0, ""
    return threshold, f"with it {len(sites)} sites are wiped within 24 h, and one word is enough for {radius}"
