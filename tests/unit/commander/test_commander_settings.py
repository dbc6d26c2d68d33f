"""The section `edge_commander`: what it takes, and that every mistake is named at once with its path."""

import pytest

from agents.contracts.identity import Role
from agents.core.errors import ConfigError
from agents.core.settings import build
from edge_commander.settings import DEFAULT_ROLES, CommanderSettings


def test_defaults() -> None:
    own = build([], {}, "edge_commander", CommanderSettings).own
    assert own.roles == DEFAULT_ROLES and own.health.port == 9404 and own.keys_dir == "/var/lib/galley-ident"
    assert own.distribution.kind == "existing" and own.socket_roles == []


def test_roles_by_uid() -> None:
    document = {"v": 1, "edge_commander": {"roles": {"1000": "vessel"}, "socket_roles": ["heartbeat"]}}
    own = build([("galley.yaml", document)], {}, "edge_commander", CommanderSettings).own
    assert own.roles == {"1000": Role.VESSEL} and own.socket_roles == [Role.HEARTBEAT]


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ({"roles": {"x": "vessel"}}, "edge_commander.roles"),
        ({"roles": {"1000": "king"}}, "edge_commander.roles"),
        ({"roles": {"-1": "vessel"}}, "edge_commander.roles"),
        ({"socket_roles": ["admin"]}, "edge_commander.socket_roles"),
        ({"distribution": {"kind": "k9s"}}, "edge_commander.distribution.kind"),
        ({"distribution": {"kubeconfig": 5}}, "edge_commander.distribution.kubeconfig"),
        ({"observe_seconds": 0}, "edge_commander.observe_seconds"),
        ({"trust_everyone": True}, "edge_commander.trust_everyone: unknown key"),
    ],
)
def test_mistakes_are_named(section: dict[str, object], path: str) -> None:
    with pytest.raises(ConfigError) as error:
        build([("galley.yaml", {"v": 1, "edge_commander": section})], {}, "edge_commander", CommanderSettings)
    assert any(problem.startswith(path) for problem in error.value.problems), error.value.problems
