"""The whole table of routes: who may use what, by role; nothing without a login but the few that must be."""

from __future__ import annotations

import itertools

import pytest

from agents.contracts.identity import DEVICE_SCOPES, ROLE_SCOPES, Role, Scope
from agents.contracts.ids import Stream
from agents.core.jose import SoftwareKey
from cloud_endpoint.app.issuer import Issuer
from cloud_endpoint.app.principal import Principal
from cloud_endpoint.app.token import Client, grant
from cloud_endpoint.problem import Problem
from cloud_endpoint.route import PEOPLE, STREAM_SCOPES, Route, allows
from cloud_endpoint.routes import PAGE_ROUTES, ROUTES

NO_LOGIN = {"/healthz", "/v1/enrol", "/v1/token", "/login", "/assets/login.css", "/assets/icon.svg"}
FOR_ALL_DEVICES = {"POST /v1/ingest", "GET /v1/site"}
FOR_ROLE = {
    Role.HEARTBEAT: FOR_ALL_DEVICES,
    Role.VESSEL: FOR_ALL_DEVICES | {"GET /v1/git-credential"},
    Role.SYNTHETIC: FOR_ALL_DEVICES | {"POST /v1/echo"},
    Role.COMMANDER: FOR_ALL_DEVICES
    | {"GET /v1/commands", "POST /v1/init-grant", "POST /v1/wipe-grant"}
    | {"POST /v1/diagnostics", "GET /v1/diagnostics/{id}", "PUT /v1/diagnostics/{id}"},
}
ADMIN_ALONE = ("/v1/admin/",)


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_no_route_without_a_login_but_these() -> None:
    assert {route.path for route in ROUTES if not route.scopes} == NO_LOGIN


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("route", [r for r in ROUTES if r.scopes and r not in PAGE_ROUTES], ids=name)
def test_each_role_reaches_its_routes_alone(route: Route, role: Role) -> None:
    expected = name(route) in FOR_ROLE[role] or route.path == "/v1/openapi.json"
    assert allows(route, ROLE_SCOPES[role]) is expected


@pytest.mark.parametrize("route", [r for r in PAGE_ROUTES if r.scopes and r.path != "/logout"], ids=name)
def test_no_device_reaches_the_page(route: Route) -> None:
    assert not allows(route, DEVICE_SCOPES)


@pytest.mark.parametrize("route", [r for r in ROUTES if r.scopes], ids=name)
def test_people_reach_what_is_theirs(route: Route) -> None:
    reader = frozenset({Scope.FLEET_READ})
    if name(route) in set().union(*FOR_ROLE.values()):
        assert not allows(route, PEOPLE)
    elif route.path.startswith(ADMIN_ALONE) and route.path != "/v1/admin/login-link":
        assert not allows(route, PEOPLE - {Scope.ADMIN})
        assert allows(route, frozenset({Scope.ADMIN}))
    elif route.method == "GET" and route.path != "/v1/nodes/{node}/next-command":
        assert allows(route, reader)
    if route.method != "GET" and route.path not in ("/v1/admin/login-link", "/logout"):
        assert not allows(route, reader)


def test_admin_routes_of_the_whole_fleet_are_closed_to_people_of_one_site() -> None:
    for route in ROUTES:
        if route.path.startswith("/v1/admin/") and "{site}" not in route.path and "{node}" not in route.path:
            assert route.whole_fleet or route.query is not None or route.path == "/v1/admin/login-link", name(route)


def test_routes_and_handlers_are_named_once() -> None:
    assert len({name(route) for route in ROUTES}) == len(ROUTES)
    assert len({route.handler for route in ROUTES}) == len(ROUTES)


def test_every_stream_has_the_scope_of_one_role() -> None:
    assert set(STREAM_SCOPES) == set(Stream)
    assert {frozenset({scope}) for scope in STREAM_SCOPES.values()} == set(ROLE_SCOPES.values())


def test_no_combination_of_scopes_but_one_roles_is_granted_to_a_device() -> None:
    client = Client("n-aaaaaaaaaaaaaaaa", {}, "store-1", None)
    for count in range(len(Scope) + 1):
        for scopes in itertools.combinations(Scope, count):
            wanted = " ".join(scopes)
            if frozenset(scopes) in ROLE_SCOPES.values():
                assert grant(client, wanted).scopes == frozenset(scopes)
            else:
                with pytest.raises(Problem):
                    grant(client, wanted)


def test_a_person_is_granted_what_they_hold_alone() -> None:
    client = Client("op:ann", {}, None, frozenset({Scope.FLEET_READ, Scope.FLEET_DEPLOY}))
    assert grant(client, "").scopes == client.scopes
    assert grant(client, "fleet:read").scopes == {Scope.FLEET_READ}
    with pytest.raises(Problem):
        grant(client, "fleet:read admin")


@pytest.mark.parametrize("scope", sorted(PEOPLE))
def test_the_issuer_itself_never_signs_a_persons_scope_for_a_device(scope: Scope) -> None:
    issuer = Issuer("https://x", SoftwareKey.generate())
    with pytest.raises(ValueError, match="never"):
        issuer.issue(Principal("n-aaaaaaaaaaaaaaaa", frozenset({scope}), "store-1"), 1000)
    with pytest.raises(ValueError, match="never"):
        issuer.issue(Principal("n-aaaaaaaaaaaaaaaa", frozenset({Scope.HEARTBEAT_WRITE})), 1000)
