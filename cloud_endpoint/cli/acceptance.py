"""`galley site verify`: judges a site here, signs the report with the operator's key, and has the endpoint keep it."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote

import msgspec

from agents.core.errors import Rejected
from cloud_endpoint.cli.arguments import SITE
from cloud_endpoint.cli.client import Client
from cloud_endpoint.cli.entries import KEY
from cloud_endpoint.cli.output import Row
from cloud_endpoint.cli.spec import Command
from cloud_endpoint.records import SiteView
from cloud_endpoint.rules.acceptance import NODES, judge_site
from cloud_endpoint.rules.acceptance_report import sign_report
from cloud_endpoint.signing.keys import HELP, operators_key

NOT_ACCEPTED = 3
"""The exit status of a site that fails a check."""


async def verify(client: Client, options: argparse.Namespace) -> Any:
    """The report; with a key it is signed here and stored there."""
    key = operators_key(options.key) if options.key else None
    shown = await client.call("GET", f"/v1/fleet/sites/{quote(options.id)}")
    try:
        view = msgspec.convert(shown, SiteView)
    except msgspec.ValidationError as error:
        raise Rejected(f"the endpoint's answer cannot be read: {error}") from None
    if not view.now_ms:
        raise Rejected("the endpoint does not tell its time: it is older than this command")
    report = judge_site(view, nodes=options.nodes)
    stored = None
    if key is not None:
        body = msgspec.to_builtins(sign_report(report, key))
        stored = await client.call("POST", f"/v1/admin/sites/{quote(options.id)}/acceptance", body)
    return {
        "accepted": report.accepted,
        **msgspec.to_builtins(report),
        "signed_by": stored["signed_by"] if stored else "",
        "kid": stored["kid"] if stored else "",
    }


async def acceptance(client: Client, options: argparse.Namespace) -> Any:
    """The last report that the endpoint keeps."""
    return await client.call("GET", f"/v1/admin/sites/{quote(options.id)}/acceptance")


def rows(answer: Any) -> list[Row]:
    """A line for each check, and one for all of them."""
    report = answer.get("report", answer)
    lines = [{**check, "result": "ok" if check["ok"] else "NOT OK"} for check in report["checks"]]
    result = "accepted" if answer["accepted"] else "NOT ACCEPTED"
    signed = f"signed by {answer['signed_by']}, stored" if answer["signed_by"] else "not signed, not stored"
    return [*lines, {"name": report["site"], "result": result, "text": f"epoch {report['epoch']}, {signed}"}]


def status(answer: Any, options: argparse.Namespace) -> int:
    """0 or NOT_ACCEPTED."""
    return 0 if answer["accepted"] else NOT_ACCEPTED


_COLUMNS = ("name", "result", "text")
ACCEPTANCE: tuple[Command, ...] = (
    Command(
        ("site", "verify"),
        "run the acceptance checklist of a new site; exits 3 where a check fails",
        verify,
        [
            SITE,
            ("--nodes", {"type": int, "default": NODES, "help": f"how many the site has (default: {NODES})"}),
            ("--key", {**KEY, "required": False, "help": f"{HELP}; with it the report is signed and stored"}),
        ],
        _COLUMNS,
        rows=rows,
        status=status,
    ),
    Command(
        ("site", "acceptance"),
        "the last signed report on a site's acceptance",
        acceptance,
        [SITE],
        _COLUMNS,
        rows=rows,
    ),
)
