"""The routes of what operators sign, but commands: a part of the table in routes.py. Pure."""

from __future__ import annotations

from agents.contracts.signed import SignedDocument
from cloud_endpoint import records as rec
from cloud_endpoint import requests as ask
from cloud_endpoint.route import ADMINS, Route
from cloud_endpoint.rules.acceptance_report import AcceptanceRecord

TRUST_ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/v1/admin/sites/{site}/generation",
        "site_generation",
        "Raises a site's generation above one that its nodes have seen: after a store came from a backup",
        scopes=ADMINS,
        body=ask.GenerationAbove,
        answer=rec.SiteRecord,
    ),
    Route(
        "GET",
        "/v1/admin/entries",
        "entries",
        "Shipping entries that operators signed",
        scopes=ADMINS,
        answer=list[rec.EntryRecord],
        query=ask.SiteQuery,
    ),
    Route(
        "POST",
        "/v1/admin/entries",
        "entry_put",
        "A signed shipping entry of a shipped device, or its withdrawal",
        scopes=ADMINS,
        whole_fleet=True,
        body=SignedDocument,
        answer=rec.EntryRecord,
    ),
    Route(
        "GET",
        "/v1/admin/operators-documents",
        "operators_documents",
        "The operators' documents, and the public key that signs rosters here",
        scopes=ADMINS,
        whole_fleet=True,
        answer=rec.OperatorsView,
    ),
    Route(
        "POST",
        "/v1/admin/operators-documents",
        "operators_document_put",
        "The operators' document that follows the newest one",
        scopes=ADMINS,
        whole_fleet=True,
        body=SignedDocument,
        answer=rec.OperatorsRecord,
        query=ask.OperatorsQuery,
    ),
    Route(
        "GET",
        "/v1/admin/sites/{site}/orders",
        "site_orders",
        "The newest order to a site of each kind",
        scopes=ADMINS,
        answer=list[rec.OrderRecord],
    ),
    Route(
        "POST",
        "/v1/admin/sites/{site}/orders",
        "site_order_put",
        "An order to a whole site: to upgrade it, or to change its secrets",
        scopes=ADMINS,
        body=ask.OrderPut,
        answer=rec.OrderRecord,
    ),
    Route(
        "GET",
        "/v1/admin/sites/{site}/acceptance",
        "acceptance",
        "The last signed report on the acceptance of a site; 404 while there is none",
        scopes=ADMINS,
        answer=AcceptanceRecord,
    ),
    Route(
        "POST",
        "/v1/admin/sites/{site}/acceptance",
        "acceptance_put",
        "A report on the acceptance of a site, signed with an operator's command key",
        scopes=ADMINS,
        body=SignedDocument,
        answer=AcceptanceRecord,
    ),
)
