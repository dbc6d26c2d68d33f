"""What k3s is given: config and registries against golden files, the authorities' tree, the token."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import yaml
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agents.core.errors import Rejected
from edge_commander.distribution.k3s import layout, reference
from edge_commander.distribution.k3s.config import Way, config, registries, url
from edge_commander.distribution.k3s.facts import Marker
from edge_commander.distribution.k3s.files import TOKEN as TOKEN_FILE
from edge_commander.distribution.k3s.settings import K3sSettings
from edge_commander.secrets.model import Authority, SiteSecrets
from tests.fakes.k3s_kit import SETTINGS, TOKEN, account_key, authority, plan, secrets

GOLDEN = Path(__file__).parent / "golden"
LAN = tuple(f"192.0.2.{n}" for n in range(1, 6))
FULL = K3sSettings(
    disable=["traefik", "metrics-server", "traefik"],
    labels=["galley.site/id=store-01234", "galley.site/ring=canary"],
    taints=["kitchen=true:PreferNoSchedule"],
    tls_sans=["k3s.store-01234.example", "192.0.2.100"],
    cluster_cidr="10.52.0.0/16",
    service_cidr="10.53.0.0/16",
    flannel_backend="none",
    secrets_encryption=False,
    snapshot_dir="/keep/k3s",
    snapshot_cron="30 3 * * *",
    snapshot_keep=9,
    mirrors={"docker.io": ["https://mirror.example:5000", "http://127.0.0.1:5001"], "*": []},
    registry_ca={"mirror.example:5000": "/etc/galley/mirror-ca.pem"},
    share_images=True,
)
CONFIGS = {
    "one-first": (plan("nuc-1"), SETTINGS, Way.INIT),
    "one-settled": (plan("nuc-1"), SETTINGS, Way.JOIN),
    "one-reset": (plan("nuc-1"), SETTINGS, Way.RESET),
    "one-without-address": (plan("nuc-1", address=""), SETTINGS, Way.JOIN),
    "three-first": (plan("nuc-1"), SETTINGS, Way.INIT),
    "three-settled": (plan("nuc-1", LAN[1:3]), SETTINGS, Way.JOIN),
    "three-joiner": (plan("nuc-3", LAN[:2], address=LAN[2]), SETTINGS, Way.JOIN),
    "five-first": (plan("nuc-1"), FULL, Way.INIT),
    "five-joiner": (plan("nuc-5", LAN[:4], address=LAN[4]), FULL, Way.JOIN),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_config(case: str) -> None:
    made = config(*CONFIGS[case])
    assert (made.path, made.mode) == ("/etc/rancher/k3s/config.yaml", 0o600)
    assert made.content.decode() == (GOLDEN / f"{case}.yaml").read_text()


def test_there_is_a_golden_file_for_each_case_and_no_other() -> None:
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == {*CONFIGS, "registries"}


@pytest.mark.parametrize("case", CONFIGS)
def test_cluster_init_stands_in_no_config_but_the_first(case: str) -> None:
    said = yaml.safe_load(config(*CONFIGS[case]).content)
    assert said.get("cluster-init", False) is (CONFIGS[case][2] is Way.INIT)
    # k3s begins a new cluster by itself where neither is said: that is for --cluster-reset alone.
    assert ("server" in said or "cluster-init" in said) is (CONFIGS[case][2] is not Way.RESET)


def test_the_server_that_answers_is_joined() -> None:
    said = yaml.safe_load(config(plan("nuc-3", LAN[:2]), SETTINGS, Way.JOIN, LAN[1]).content)
    assert said["server"] == "https://192.0.2.2:6443"


def test_ipv6() -> None:
    assert url("2001:db8::1") == "https://[2001:db8::1]:6443" and url("nuc-1.lan") == "https://nuc-1.lan:6443"


def test_registries() -> None:
    made = registries(FULL)
    assert made is not None and made.content.decode() == (GOLDEN / "registries.yaml").read_text()
    assert registries(SETTINGS) is None


def test_no_secret_stands_in_a_config_or_is_shown() -> None:
    for case in CONFIGS.values():
        assert TOKEN.encode() not in config(*case).content
    shown = repr(layout.files(secrets())) + repr(config(*CONFIGS["one-first"]))
    assert TOKEN not in shown and "PRIVATE" not in shown and TOKEN not in repr(plan())


def test_the_authorities_lie_where_k3s_looks_for_them() -> None:
    made = {file.path.rpartition("/server/tls/")[2]: file for file in layout.files(secrets()) if "/tls/" in file.path}
    assert set(made) == {
        *("server-ca.crt", "server-ca.key", "client-ca.crt", "client-ca.key"),
        *("request-header-ca.crt", "request-header-ca.key", "service.key"),
        *("etcd/peer-ca.crt", "etcd/peer-ca.key", "etcd/server-ca.crt", "etcd/server-ca.key"),
    }
    assert made["server-ca.crt"].content == made["client-ca.crt"].content == authority("cluster").cert.encode()
    assert made["etcd/peer-ca.crt"].content == made["etcd/server-ca.crt"].content == authority("etcd").cert.encode()
    assert made["request-header-ca.crt"].content == authority("front-proxy").cert.encode()
    for name, file in made.items():
        if name.endswith(".key"):
            assert file.mode == 0o600 and file.content.startswith(b"-----BEGIN EC PRIVATE KEY-----\n"), name
    key = load_pem_private_key(made["server-ca.key"].content, None)
    assert key.private_numbers() == load_pem_private_key(authority("cluster").key.encode(), None).private_numbers()  # type: ignore[union-attr]


def test_an_rsa_key_signs_accounts_too() -> None:
    made = {file.path: file.content for file in layout.files(secrets(kind="rsa"))}
    assert made[reference.path("service-key")].startswith(b"-----BEGIN RSA PRIVATE KEY-----\n")


def test_the_tree_is_the_same_on_every_server_and_leads_back_to_the_secrets() -> None:
    first, again = (
        layout.files(secrets()),
        layout.files(msgspec.json.decode(msgspec.json.encode(secrets()), type=SiteSecrets)),
    )
    assert first == again
    marker = Marker(site="store-01234", epoch=1)
    assert layout.collect(marker, {file.path: file.content for file in first}) == secrets()


def test_the_token_names_the_cluster() -> None:
    made = {file.path: file for file in layout.files(secrets())}
    digest = hashlib.sha256(made[reference.path("server-ca-cert")].content).hexdigest()
    assert made[TOKEN_FILE].content.decode() == f"K10{digest}::server:{TOKEN}\n" and made[TOKEN_FILE].mode == 0o600
    loose = replace(plan(), secrets=msgspec.structs.replace(secrets(), cluster=_spaced(authority("cluster"))))
    assert loose.secrets is not None and layout.token(loose.secrets) == layout.token(secrets())


def test_a_missing_file_and_a_key_that_is_none_are_named_without_their_content() -> None:
    files = {file.path: file.content for file in layout.files(secrets())}
    del files[reference.path("etcd-server-ca-key")]
    with pytest.raises(Rejected, match=r"etcd/server-ca\.key: is missing"):
        layout.collect(Marker(site="store-01234", epoch=1), files)
    bad = msgspec.structs.replace(secrets(), service_account_key="-----BEGIN PRIVATE KEY-----\nsecret\n")
    with pytest.raises(Rejected, match=r"^secrets\.service_account_key: is no private key$"):
        layout.files(bad)


def test_differences_are_told_by_the_files_name() -> None:
    other = msgspec.structs.replace(secrets(), token="ab" * 32, service_account_key=account_key("rsa"))
    assert layout.differences(secrets(), secrets(epoch=2)) == []
    assert layout.differences(secrets(), other) == [reference.path("service-key"), TOKEN_FILE]


def _spaced(one: Authority) -> Authority:
    return Authority(cert=f"\n{one.cert}\n\n", key=one.key)
