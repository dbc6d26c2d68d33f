"""The routes of commands to nodes, as people use them: a part of the table in routes.py. Pure."""

from __future__ import annotations

from agents.contracts.command import SignedCommand
from agents.contracts.identity import Scope
from cloud_endpoint import records as rec
from cloud_endpoint import requests as ask
from cloud_endpoint.route import ADMINS, READERS, Route

COMMAND_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/v1/nodes/{node}/commands",
        "node_commands",
        "A node's commands and their answers",
        scopes=READERS,
        cookie=True,
        answer=list[rec.CommandRecord],
    ),
    Route(
        "GET",
        "/v1/fleet/commands/{id}",
        "fleet_command",
        "The command with this id, and its answer",
        scopes=READERS,
        answer=rec.CommandRecord,
    ),
    Route(
        "POST",
        "/v1/nodes/{node}/commands",
        "command",
        "A command signed by operators; others are refused and audited",
        scopes=ADMINS,
        body=SignedCommand,
        answer=rec.CommandRecord,
    ),
    Route(
        "POST",
        "/v1/nodes/{node}/requests",
        "command_request",
        "A command that the endpoint itself may sign",
        scopes=frozenset({Scope.REMEDY_EXECUTE, Scope.ADMIN}),
        body=ask.CommandAsk,
        answer=rec.CommandRecord,
    ),
    Route(
        "GET",
        "/v1/nodes/{node}/next-command",
        "next_command",
        "Site, sequence and challenge for the next command",
        scopes=ADMINS,
        answer=rec.NextCommand,
    ),
)
