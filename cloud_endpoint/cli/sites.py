"""`galley site`: makes, changes and shows sites, and begins their epochs. Touches the file of an authorisation."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from agents.contracts.identity import AtlasSource
from agents.core.atlas import wrong_assigned
from agents.core.errors import Rejected
from cloud_endpoint.cli.arguments import SITE
from cloud_endpoint.cli.client import Client
from cloud_endpoint.cli.output import Row, cell, moment
from cloud_endpoint.cli.problems import BadInput
from cloud_endpoint.cli.spec import Command


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """`key=value` flags; raises Rejected."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise Rejected(f"{text!r} is not key=value")
        found[key] = value
    return found


def atlas(options: argparse.Namespace) -> dict[str, str] | None:
    """What the flags say of the site's Atlas, None where they name none; raises BadInput with all that is wrong."""
    fields = ("url", "branch", "path", "credential")
    given = {name: str(value) for name in fields if (value := getattr(options, f"atlas_{name}")) is not None}
    if not given:
        return None
    if "url" not in given:
        raise BadInput([f"--atlas-{name} needs --atlas-url" for name in given])
    source = AtlasSource(**given)
    if wrong := wrong_assigned(source):
        raise BadInput([f"--atlas-{field}: {why}" for field, why in wrong.items()])
    return dict(msgspec.to_builtins(source))


async def site_add(client: Client, options: argparse.Namespace) -> Any:
    """Makes or replaces a site."""
    body = {"labels": pairs(options.label), "atlas": atlas(options), "election": options.election}
    return await client.call("PUT", f"/v1/admin/sites/{quote(options.id)}", body)


async def site_epoch(client: Client, options: argparse.Namespace) -> Any:
    """Raises a site's epoch."""
    authorisation = ""
    if options.authorisation is not None:
        try:
            authorisation = options.authorisation.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            cause = getattr(error, "strerror", None) or "no text"
            raise Rejected(f"cannot be read: {cause}", file=str(options.authorisation)) from None
        if not authorisation:
            raise Rejected("is empty: make it with `galley epoch authorise`", file=str(options.authorisation))
    body = {
        "to": options.to,
        "election": options.election,
        "authorisation": authorisation,
        "restore": options.restore,
    }
    return await client.call("PUT", f"/v1/admin/sites/{quote(options.id)}/epoch", body)


async def site_list(client: Client, options: argparse.Namespace) -> Any:
    """Sites."""
    return await client.call("GET", "/v1/fleet/sites")


async def site_show(client: Client, options: argparse.Namespace) -> Any:
    """All of one site."""
    return await client.call("GET", f"/v1/fleet/sites/{quote(options.id)}")


def rows(view: Any) -> list[Row]:
    """A site's table: itself, its Atlas, who may wipe or begin, then nodes, apps and alerts."""
    site, source = view["site"], view["site"]["atlas"]
    about = f"generation {site['generation']}, epoch {site['epoch']}, election {site['election']}"
    restored = ", restored from a snapshot" if site["restore"] else ""
    lines = [_line("site", site["site"], cell(site["labels"]), about + restored)]
    if source is not None:
        where = f"branch {source['branch']}, folder {source['path']}, credential {source['credential']}"
        lines.append(_line("atlas", source["url"], "", where))
    for grant in view.get("grants", [])[:1]:
        state = "begun" if grant["begun_ms"] else "granted"
        lines.append(_line("init_grant", grant["node"], state, f"epoch {grant['epoch']}"))
    if (held := view.get("wipe_grant")) is not None:
        lines.append(_line("wipe_grant", held["node"], "held", f"since {moment(held['granted_ms'])}"))
    for node in view["nodes"]:
        state = node["status"] if node["status"] != "enrolled" else (node["state"] or {}).get("state", "")
        beat = f"last beat {moment(node['beat_ms'])}" if node["beat_ms"] else "never heard"
        lines.append(_line("node", node["name"], state, f"{node['node']}, {beat}"))
    for app in view["deployments"]:
        body = app["body"]
        lines.append(_line("app", app["app"], body.get("phase", ""), f"at {str(body.get('revision', ''))[:12]}"))
    for alert in view["alerts"]:
        more = f"{alert['count']} times, last {moment(alert['last_ms'])}: {alert['text']}"
        lines.append(_line("alert", alert["code"], alert["severity"], more))
    return lines


def _line(what: str, name: str, state: str, more: str) -> Row:
    return {"what": what, "name": name, "state": state, "more": more}


async def site_generation(client: Client, options: argparse.Namespace) -> Any:
    """Raises a site's generation."""
    return await client.call("POST", f"/v1/admin/sites/{quote(options.id)}/generation", {"above": options.above})


_ELECTION = (
    "--election",
    {
        "choices": ["cloud", "offline"],
        "help": "who decides which node begins the cluster (default: as it is, or cloud)",
    },
)
SITES: tuple[Command, ...] = (
    Command(
        ("site", "add"),
        "make a site, or replace its labels and Atlas as a whole",
        site_add,
        [
            SITE,
            ("--label", {"action": "append", "default": [], "metavar": "KEY=VALUE", "help": "may be given again"}),
            ("--atlas-url", {"metavar": "URL", "help": "the site's Git repository: https://..."}),
            ("--atlas-branch", {"metavar": "BRANCH", "help": "the branch that is followed (default: main)"}),
            ("--atlas-path", {"metavar": "FOLDER", "help": "the Atlas' folder in the repository (default: its root)"}),
            (
                "--atlas-credential",
                {"metavar": "WHICH", "help": "none, or endpoint: the one that the endpoint holds (default: none)"},
            ),
            _ELECTION,
        ],
        ("site", "generation", "epoch", "election", "labels", "atlas.url", "atlas.branch", "atlas.credential"),
    ),
    Command(
        ("site", "epoch"),
        "raise a site's epoch by one: its cluster is to be wiped and formed anew",
        site_epoch,
        [
            SITE,
            ("--to", {"required": True, "type": int, "help": "the next epoch's number"}),
            _ELECTION,
            ("--authorisation", {"type": Path, "help": "file with the operator's signature (a JWS)"}),
            ("--restore", {"action": "store_true", "help": "make its cluster of the newest snapshot of the older one"}),
        ],
        ("site", "epoch", "election", "restore", "generation"),
    ),
    Command(
        ("site", "list"), "sites", site_list, columns=("site", "generation", "epoch", "election", "labels", "atlas.url")
    ),
    Command(
        ("site", "show"),
        "one site as last heard; with --output json all of it",
        site_show,
        [SITE],
        ("what", "name", "state", "more"),
        rows=rows,
    ),
    Command(
        ("site", "generation"),
        "raise a site's generation above what its nodes have seen, after the store came from a backup",
        site_generation,
        [SITE, ("--above", {"type": int, "required": True, "help": "as the nodes' status shows it"})],
        ("site", "generation"),
    ),
)
