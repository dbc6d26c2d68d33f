"""Routes of diagnostics bundles; see routes.py. Pure."""

from __future__ import annotations

from agents.contracts.diagnostics import MAX_PIECE, BundleOpen, BundleState
from agents.contracts.identity import Scope
from cloud_endpoint import records as rec
from cloud_endpoint import requests as ask
from cloud_endpoint.route import ADMINS, Route

_NODES = frozenset({Scope.COMMAND_READ})
DIAGNOSTICS_ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/v1/diagnostics",
        "bundle_open",
        "The node is going to send the diagnostics bundle of a command; answers where to begin",
        scopes=_NODES,
        body=BundleOpen,
        answer=BundleState,
    ),
    Route(
        "GET",
        "/v1/diagnostics/{id}",
        "bundle_state",
        "How far the node's bundle came",
        scopes=_NODES,
        answer=BundleState,
    ),
    Route(
        "PUT",
        "/v1/diagnostics/{id}",
        "bundle_piece",
        "The bytes at `offset`, with their SHA-256; taken where they are the next ones. Answers where to go on",
        scopes=_NODES,
        query=ask.PieceQuery,
        answer=BundleState,
        max_body=MAX_PIECE,
    ),
    Route(
        "GET",
        "/v1/admin/nodes/{node}/diagnostics",
        "node_diagnostics",
        "A node's diagnostics bundles, the newest first",
        scopes=ADMINS,
        answer=list[rec.BundleRecord],
    ),
    Route(
        "GET",
        "/v1/admin/nodes/{node}/diagnostics/{id}",
        "node_bundle",
        "The bytes (tar.gz) of a bundle that came whole; audited",
        scopes=ADMINS,
    ),
)
