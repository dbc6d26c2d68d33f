"""The routes of a wipe's grant: a part of the table in routes.py. Pure."""

from __future__ import annotations

from agents.contracts.identity import Scope
from agents.contracts.wipe import WipeGrant, WipeGrantAsk
from cloud_endpoint import records as rec
from cloud_endpoint.route import ADMINS, Route

WIPE_GRANT = Route(
    "POST",
    "/v1/wipe-grant",
    "wipe_grant",
    "Whether the node may begin with its wipe: one a site at a time, and none that costs the quorum",
    scopes=frozenset({Scope.COMMAND_READ}),
    body=WipeGrantAsk,
    answer=WipeGrant,
)
WIPE_RELEASE = Route(
    "POST",
    "/v1/admin/sites/{site}/wipe-release",
    "wipe_release",
    "Gives the site's wipe grant back, where its holder will not answer any more",
    scopes=ADMINS,
    answer=rec.Done,
)
