"""What `galley` can do: one function a command, each from parsed flags to (answer, columns)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agents.core.errors import Rejected
from cloud_endpoint import keyfile
from cloud_endpoint.cli.acceptance import ACCEPTANCE
from cloud_endpoint.cli.arguments import NODE, site_id, site_id_or_none
from cloud_endpoint.cli.client import Client
from cloud_endpoint.cli.command.table import COMMAND
from cloud_endpoint.cli.command.terminal import tell
from cloud_endpoint.cli.command.words import plain
from cloud_endpoint.cli.diagnostics import DIAGNOSTICS
from cloud_endpoint.cli.entries import ENTRY_FLAGS, EPOCH, KEY, PIN_FLAGS, sign_shipped, sign_withdrawal
from cloud_endpoint.cli.operators import OPERATORS
from cloud_endpoint.cli.orders import ORDERS
from cloud_endpoint.cli.releases import RELEASES
from cloud_endpoint.cli.sites import SITES
from cloud_endpoint.cli.spec import Command
from cloud_endpoint.cli.wipes import WIPES
from cloud_endpoint.route import read_scopes
from cloud_endpoint.signing.keys import HELP, operators_key


def _site(options: argparse.Namespace) -> str:
    return f"?site={quote(options.site)}" if options.site else ""


async def node_list(client: Client, options: argparse.Namespace) -> Any:
    """Nodes as last heard."""
    return await client.call("GET", f"/v1/fleet/nodes{_site(options)}")


async def device_list(client: Client, options: argparse.Namespace) -> Any:
    """Devices that wait, then those on the list and enrolled."""
    if options.waiting:
        return await client.call("GET", "/v1/admin/enrolments")
    return await client.call("GET", f"/v1/fleet/nodes{_site(options)}")


async def device_ship(client: Client, options: argparse.Namespace) -> Any:
    """A device for the shipping list, with its entry signed here where a key is given."""
    if options.role != "server" and not options.key:
        raise Rejected("the role is in the signed entry: --role worker needs --key")
    proof = "approval" if options.by_approval else "tpm" if options.ek_hash else "code"
    body = {
        "entry": sign_shipped(options, proof) if options.key else None,
        "hardware_id": options.hardware_id,
        "site": options.site,
        "name": options.name,
        "address": options.address,
        "proof": proof,
        "ek_hash": options.ek_hash,
    }
    shipped = await client.call("POST", "/v1/admin/shipping", body)
    if not options.key:
        tell(_unsigned(options))
    return {**shipped["line"], "code": shipped["code"]}


def _unsigned(options: argparse.Namespace) -> list[str]:
    """What it means that the entry has no operator's signature, and what gives it one."""
    sign = f"galley device sign {options.hardware_id} --site {options.site} --name {options.name} --key KEY"
    return [
        "not signed, as no --key was given: the endpoint's word alone puts this device on the list. Nodes that trust"
        " operators (edge_commander.trust: operators) refuse it as a sibling until an operator signs for it:",
        f"  {plain(sign)}",
    ]


async def device_approve(client: Client, options: argparse.Namespace) -> Any:
    """A person's word for a device."""
    number = await _waiting(client, options.device)
    body = {"site": options.site, "name": options.name}
    return await client.call("POST", f"/v1/admin/enrolments/{number}/approve", body)


async def device_refuse(client: Client, options: argparse.Namespace) -> Any:
    """A person's word against a device."""
    return await client.call("POST", f"/v1/admin/enrolments/{await _waiting(client, options.device)}/refuse")


async def device_sign(client: Client, options: argparse.Namespace) -> Any:
    """A new entry for a device that is on the list, of what this command line says of it alone."""
    return await client.call("POST", "/v1/admin/entries", sign_shipped(options, ""))


async def device_entries(client: Client, options: argparse.Namespace) -> Any:
    """Signed entries."""
    return await client.call("GET", f"/v1/admin/entries{_site(options)}")


async def device_revoke(client: Client, options: argparse.Namespace) -> Any:
    """Ends a device's rights; with a key by an operator's signed word, which a stolen endpoint cannot undo."""
    if options.key and not options.site:
        raise Rejected("what is signed names the site: --key needs --site")
    if options.key:
        await client.call("POST", "/v1/admin/entries", sign_withdrawal(options))
        return {"changed": True}
    done = await client.call("POST", f"/v1/admin/devices/{quote(options.device)}/revoke")
    if not done["changed"]:
        tell([f"{options.device} was revoked already: nothing changed"])
    return done


async def _waiting(client: Client, device: str) -> int:
    """The number of a waiting device, given as number or node id; refuses to guess between two keys of one node."""
    if device.isdigit():
        return int(device)
    waiting = await client.call("GET", "/v1/admin/enrolments")
    found = [one for one in waiting if one["node"] == device]
    if len(found) != 1:
        keys = ", ".join(f"{one['id']} (key {one['signing_kid'][:12]}...)" for one in found)
        raise Rejected(
            f"{device} waits with several keys, name one by its number: {keys}" if found else f"{device} does not wait"
        )
    return int(found[0]["id"])


async def operator_add(client: Client, options: argparse.Namespace) -> Any:
    """A new operator with keys made here, or with a key that signs where it lies: the endpoint gets public halves."""
    if options.command_key and options.command_key_out:
        raise Rejected("--command-key and --command-key-out exclude each other")
    given = operators_key(options.command_key).public if options.command_key else None
    with keyfile.drafts(keyfile.wanted(options.key_out, options.command_key_out)) as keys:
        body = {
            "name": options.name,
            "key": keys[0].public,
            "scopes": read_scopes(options.scopes),
            "command_key": keys[1].public if len(keys) > 1 else given,
            "site": options.site or None,
        }
        return await client.call("POST", "/v1/admin/operators", body)


async def operator_list(client: Client, options: argparse.Namespace) -> Any:
    """Operators."""
    return await client.call("GET", "/v1/admin/operators")


async def operator_revoke(client: Client, options: argparse.Namespace) -> Any:
    """Ends an operator's rights."""
    done = await client.call("POST", f"/v1/admin/operators/{quote(options.name, safe='')}/revoke")
    if not done["changed"]:
        tell([f"{plain(options.name)} was revoked already: nothing changed"])
    return done


async def audit(client: Client, options: argparse.Namespace) -> Any:
    """The audit trail."""
    return await client.call("GET", f"/v1/admin/audit?limit={options.limit}")


async def alerts(client: Client, options: argparse.Namespace) -> Any:
    """Alerts."""
    return await client.call("GET", f"/v1/fleet/alerts{_site(options)}")


async def login_link(client: Client, options: argparse.Namespace) -> Any:
    """A one-time link to the page."""
    return await client.call("POST", "/v1/admin/login-link")


async def sync(client: Client, options: argparse.Namespace) -> Any:
    """Asks a node to look at its Atlas now."""
    return await client.call("POST", f"/v1/nodes/{quote(options.device)}/requests", {"verb": options.verb})


_SITE = ("--site", {"type": site_id_or_none, "default": "", "help": "that site alone"})
_DEVICE = ("device", {"help": "node id, or the number of a waiting device"})
_OF_SITE = ("--site", {"type": site_id, "required": True, "help": "the site's id, such as store-01234"})
_HARDWARE = ("hardware_id", {"help": "as `edge-commander hardware` shows it on the device"})
_OPERATOR = ("name", {"help": "of the operator: lower-case letters, digits, dots and hyphens"})
_KEY_OUT = ("--key-out", {"type": Path, "required": True, "help": "file for the new private key of the login"})
ENTRY_COLUMNS = ("site", "node", "name", "role", "sequence", "withdrawn", "pinned", "counts")
COMMANDS: tuple[Command, ...] = (
    *SITES,
    *ORDERS,
    *RELEASES,
    *COMMAND,
    *WIPES,
    *ACCEPTANCE,
    *DIAGNOSTICS,
    Command(
        ("node", "list"),
        "nodes as last heard",
        node_list,
        [_SITE],
        ("node", "site", "name", "status", "state.state", "beat_ms"),
    ),
    Command(
        ("node", "request"),
        "a command that the endpoint may sign itself",
        sync,
        [
            NODE,
            ("verb", {"help": "what it is to do", "choices": ["sync", "snapshot", "collect-diagnostics", "reboot"]}),
        ],
        ("node", "sequence", "verb", "outcome"),
    ),
    Command(
        ("device", "list"),
        "devices on the shipping list and enrolled",
        device_list,
        [_SITE, ("--waiting", {"action": "store_true", "help": "those that asked to join and may not yet"})],
    ),
    Command(
        ("device", "ship"),
        "put a device on the shipping list; shows its one-time code, once",
        device_ship,
        [
            _HARDWARE,
            _OF_SITE,
            ("--name", {"required": True, "help": "node name"}),
            ("--address", {"default": "", "help": "where it has a fixed one on the LAN"}),
            ("--by-approval", {"action": "store_true", "help": "no code: a person approves"}),
            (
                "--ek-hash",
                {"default": "", "metavar": "HASH", "help": "no code: the TPM with this key proves it"},
            ),
            (
                "--key",
                {**KEY, "required": False, "help": f"{HELP}; without it the entry is not signed, and says what then"},
            ),
            *ENTRY_FLAGS,
        ],
        ("node", "site", "name", "proof", "code"),
    ),
    Command(
        ("device", "approve"),
        "let a waiting device join",
        device_approve,
        [
            _DEVICE,
            ("--site", {"type": site_id, "help": "where the device is not on the shipping list"}),
            ("--name", {"help": "node name"}),
        ],
        ("node", "site", "name", "status", "signing_kid"),
    ),
    Command(("device", "refuse"), "turn a waiting device away for good", device_refuse, [_DEVICE], ("changed",)),
    Command(
        ("device", "sign"),
        "sign a new shipping entry for a device on the list: other keys may follow, or only those named",
        device_sign,
        [
            _HARDWARE,
            _OF_SITE,
            ("--name", {"required": True, "help": "node name"}),
            ("--key", KEY),
            *ENTRY_FLAGS,
            *PIN_FLAGS,
        ],
        ENTRY_COLUMNS,
    ),
    Command(("device", "entries"), "shipping entries that operators signed", device_entries, [_SITE], ENTRY_COLUMNS),
    Command(
        ("device", "revoke"),
        "end a device's rights",
        device_revoke,
        [
            NODE,
            ("--key", {**KEY, "required": False}),
            ("--site", {"type": site_id_or_none, "default": "", "help": "the device's site, to sign its withdrawal"}),
            ("--sequence", {"type": int, "default": 0, "help": "of the withdrawal; default: the time, Unix s"}),
        ],
        ("changed",),
    ),
    *OPERATORS,
    EPOCH,
    Command(
        ("operator", "add"),
        "a new operator, with keys made here",
        operator_add,
        [
            _OPERATOR,
            _KEY_OUT,
            ("--command-key-out", {"type": Path, "help": "file for a new key that signs commands"}),
            ("--command-key", {"metavar": "KEY", "help": f"instead: {HELP}"}),
            ("--scopes", {"default": "fleet:read", "help": "comma-separated (default: fleet:read; to sign: admin)"}),
            _SITE,
        ],
        ("name", "scopes", "site", "kid"),
    ),
    Command(
        ("operator", "list"), "operators", operator_list, columns=("name", "scopes", "site", "created_ms", "revoked_ms")
    ),
    Command(("operator", "revoke"), "end an operator's rights", operator_revoke, [_OPERATOR], ("changed",)),
    Command(
        ("audit",),
        "who did what",
        audit,
        [("--limit", {"type": int, "default": 50, "help": "how many lines, the newest first (default: 50)"})],
        ("at_ms", "actor", "action", "target", "outcome", "detail"),
    ),
    Command(
        ("alerts",),
        "alerts, the last raised first",
        alerts,
        [_SITE],
        ("last_ms", "severity", "site", "node", "code", "count", "text"),
    ),
    Command(("login-link",), "a one-time link to the page (60 s)", login_link, columns=("url", "expires_in")),
)
WAITING_COLUMNS = ("id", "node", "status", "hardware_id", "hostname", "source", "tries", "last_ms", "reason")
DEVICE_COLUMNS = ("node", "site", "name", "address", "status", "beat_ms")
