"""`edge_commander.distribution.k3s`: what it takes, and that every mistake is named at once with its path."""

from __future__ import annotations

import pytest

from agents.core.errors import ConfigError
from agents.core.settings import Settings, build
from edge_commander.__main__ import check
from edge_commander.settings import CommanderSettings

PATH = "edge_commander.distribution.k3s"


def made(**k3s: object) -> Settings[CommanderSettings]:
    document = {"v": 1, "edge_commander": {"distribution": {"kind": "k3s", "k3s": k3s}}}
    return build([("galley.yaml", document)], {}, "edge_commander", CommanderSettings)


def test_defaults() -> None:
    own = made().own.distribution
    assert own.kind == "k3s" and own.k3s.disable == ["traefik", "servicelb"] and own.k3s.secrets_encryption
    assert check(made()) == []


GOOD: list[dict[str, object]] = [
    {"labels": ["galley.site/ring=canary", "a="], "taints": ["k=v:NoExecute", "k:NoSchedule"]},
    {"mirrors": {"docker.io": ["https://m.example:5000"], "*": []}, "registry_ca": {"m.example:5000": "/etc/ca.pem"}},
    {"share_images": True, "mirrors": {"*": []}},
    {"disable": [], "flannel_backend": "none", "tls_sans": ["k3s.lan", "192.0.2.9", "2001:db8::9"]},
]


@pytest.mark.parametrize("k3s", GOOD)
def test_good_settings(k3s: dict[str, object]) -> None:
    assert check(made(**k3s)) == []


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("binary", "k3s", "must be an absolute path"),
        ("killall", "bin/killall", "must be an absolute path"),
        ("snapshot_dir", "/keep/a b", "must be an absolute path"),
        ("images_dir", "", "must be an absolute path"),
        ("disable", ["traefik", "etcd"], "must be one of "),
        ("labels", ["a"], "must be key=value"),
        ("labels", ["a=b c"], "must be key=value"),
        ("labels", ["a=b\nserver: https://x"], "must be key=value"),
        ("taints", ["a=b"], "must be key=value:effect"),
        ("taints", ["a=b:Never"], "must be key=value:effect"),
        ("tls_sans", ["-x"], "must be a name or an address"),
        ("cluster_cidr", "10.42.0.0", "must be an IPv4 network"),
        ("flannel_backend", "ipsec", "must be one of vxlan, host-gw"),
        ("mirrors", {"docker.io": ["https://user:pw@m"]}, "must be an address without a password"),
        ("mirrors", {"a b": []}, "must be a registry's host"),
        ("registry_ca", {"m": "ca.pem"}, "must be an absolute path"),
        ("snapshot_cron", "daily", "must be a cron line"),
        ("snapshot_keep", 0, ">= 1"),
        ("start_seconds", 0, "> 0"),
        ("secrets_encryption", "yes", "expected `bool`"),
        ("token", "hunter2", "unknown key"),
    ],
)
def test_mistakes_are_named(key: str, value: object, why: str) -> None:
    with pytest.raises(ConfigError) as error:
        made(**{key: value})
    (problem,) = error.value.problems
    assert problem.startswith(f"{PATH}.{key}") and why in problem
    assert "pw@" not in problem and "hunter2" not in problem


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        made(binary="k3s", labels=["a"], snapshot_keep=0, kubeconfg="/x")
    assert len(error.value.problems) == 4


@pytest.mark.parametrize(
    ("k3s", "problems"),
    [
        ({"cluster_cidr": "10.42.0.1/16"}, [f"{PATH}.cluster_cidr: 10.42.0.1/16 is no IPv4 network"]),
        (
            {"cluster_cidr": "999.1.1.0/24", "service_cidr": "10.43.0.0/99"},
            [
                f"{PATH}.cluster_cidr: 999.1.1.0/24 is no IPv4 network",
                f"{PATH}.service_cidr: 10.43.0.0/99 is no IPv4 network",
            ],
        ),
        ({"service_cidr": "10.42.128.0/17"}, [f"{PATH}.service_cidr: overlaps cluster_cidr"]),
        ({"share_images": True}, [f"{PATH}.share_images: needs the registries to share in mirrors"]),
        (
            {"mirrors": {"docker.io": ["https://m:5000"]}, "registry_ca": {"m": "/ca.pem"}},
            [f"{PATH}.registry_ca: no mirror is at m"],
        ),
    ],
)
def test_what_no_type_says_is_checked_too(k3s: dict[str, object], problems: list[str]) -> None:
    assert check(made(**k3s)) == problems
