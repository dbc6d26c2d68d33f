"""The site's authorities as openssl sees them, the secrets on disk, and how they change."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from agents.contracts.ids import node_id
from agents.core.errors import Rejected
from edge_commander.reasons import Reason, Why
from edge_commander.secrets.authority import check, make_secrets, new_token, service_account_public
from edge_commander.secrets.model import SiteSecrets
from edge_commander.secrets.rotation import Done, Fetch, Renew, ServerFact, Step, Wait, next_step, with_token
from edge_commander.secrets.store import NAME, SecretsStore
from edge_commander.trusted_time import ClockNotTrusted
from tests.fakes.siblings import TurnedTime

SITE = "store-01234"
A, B, C = (node_id(name) for name in ("nuc-a", "nuc-b", "nuc-c"))
SECRETS = make_secrets(SITE, 1, TurnedTime())
LATER = make_secrets(SITE, 2, TurnedTime())


def openssl(*arguments: str | Path) -> str:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("field", "common"), [("cluster", "kubernetes"), ("etcd", "etcd-ca"), ("front_proxy", "front-proxy-ca")]
)
def test_openssl_finds_the_authorities_in_order(tmp_path: Path, field: str, common: str) -> None:
    authority = getattr(SECRETS, field)
    cert, key = tmp_path / "ca.crt", tmp_path / "ca.key"
    cert.write_text(authority.cert)
    key.write_text(authority.key)
    assert "OK" in openssl("verify", "-x509_strict", "-check_ss_sig", "-CAfile", cert, cert)
    text = openssl("x509", "-in", cert, "-noout", "-text")
    assert f"O = {SITE} epoch 1, CN = {common}" in text.replace("O=", "O = ").replace("CN=", "CN = ")
    assert "CA:TRUE" in text and "Certificate Sign" in text and "prime256v1" in text
    assert openssl("x509", "-in", cert, "-noout", "-pubkey") == openssl("pkey", "-in", key, "-pubout")
    assert authority.key.startswith("-----BEGIN PRIVATE" + " KEY-----"), "PKCS 8"


def test_the_service_accounts_key_has_its_public_half(tmp_path: Path) -> None:
    key = tmp_path / "sa.key"
    key.write_text(SECRETS.service_account_key)
    assert openssl("pkey", "-in", key, "-pubout") == service_account_public(SECRETS)


def test_authorities_live_ten_years_and_never_past_sense() -> None:
    made = x509.load_pem_x509_certificate(SECRETS.cluster.cert.encode())
    now = datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(days=3649) < made.not_valid_after_utc - now <= datetime.timedelta(days=3650)
    assert datetime.timedelta(minutes=59) < now - made.not_valid_before_utc < datetime.timedelta(minutes=62)
    time = TurnedTime()
    for year, cause in ((1970, "1970"), (2024, "2024"), (2100, "2100"), (2500, "2500")):
        then = datetime.datetime(year, 6, 1, tzinfo=datetime.UTC)
        time.offset_ms = round((then - now).total_seconds() * 1000)
        with pytest.raises(Rejected, match=cause):
            make_secrets(SITE, 1, time)
    time.offset_ms = round((datetime.datetime(2095, 1, 1, tzinfo=datetime.UTC) - now).total_seconds() * 1000)
    late = x509.load_pem_x509_certificate(make_secrets(SITE, 1, time).etcd.cert.encode())
    assert late.not_valid_after_utc.year == 2100


def test_none_are_made_while_the_clock_is_wrong() -> None:
    time = TurnedTime()
    time.reason = Reason(Why.CLOCK, "behind")
    with pytest.raises(ClockNotTrusted):
        make_secrets(SITE, 1, time)


def test_all_keys_differ_and_fit() -> None:
    check(SECRETS)
    keys = {SECRETS.cluster.key, SECRETS.etcd.key, SECRETS.front_proxy.key, SECRETS.service_account_key}
    assert len(keys) == 4 and SECRETS.token != LATER.token and SECRETS.generation == 1


def test_the_store_keeps_what_it_is_given(tmp_path: Path) -> None:
    store = SecretsStore(tmp_path)
    assert store.secrets is None
    store.save(SECRETS)
    assert SecretsStore(tmp_path).secrets == SECRETS == store.secrets
    assert store.path.stat().st_mode & 0o777 == 0o600
    before = store.path.read_bytes()
    store.save(SECRETS)
    assert store.path.read_bytes() == before, "nothing is written twice"
    assert SECRETS.token not in repr(store)
    store.clear()
    assert list(tmp_path.iterdir()) == [] and SecretsStore(tmp_path).secrets is None


def test_the_store_never_goes_back(tmp_path: Path) -> None:
    store = SecretsStore(tmp_path)
    renewed = with_token(SECRETS, new_token())
    store.save(SECRETS)
    store.save(renewed)
    for wrong in (
        SECRETS,
        with_token(SECRETS, new_token()),
        make_secrets("store-99999", 9, TurnedTime()),
        msgspec.structs.replace(LATER, epoch=1, generation=3),
    ):
        with pytest.raises(Rejected) as error:
            store.save(wrong)
        assert wrong.token not in str(error.value) and store.secrets == renewed
    store.save(LATER)
    with pytest.raises(Rejected):
        store.save(renewed)
    assert SecretsStore(tmp_path).secrets == LATER


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_corrupt_file_is_put_aside_and_counts_as_none(tmp_path: Path, damage: str) -> None:
    SecretsStore(tmp_path).save(SECRETS)
    file = tmp_path / NAME
    data = file.read_bytes()
    file.write_bytes({"truncate": data[:500], "flip": data[:900] + b"#" + data[901:], "empty": b""}[damage])
    store = SecretsStore(tmp_path)
    assert store.secrets is None and store.damaged() == [f"{NAME}.corrupt-1"]
    store.save(SECRETS)  # as a sibling gave them again
    assert SecretsStore(tmp_path).secrets == SECRETS
    store.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_new_token_is_a_new_generation_of_the_same_authorities() -> None:
    renewed = with_token(SECRETS, "ab" * 32)
    assert (renewed.generation, renewed.epoch, renewed.token) == (2, 1, "ab" * 32)
    assert msgspec.structs.replace(renewed, generation=1, token=SECRETS.token) == SECRETS
    with pytest.raises(Rejected):
        with_token(renewed, "ab" * 32)


def facts(*values: tuple[int, int, bool]) -> list[ServerFact]:
    return [ServerFact(node, *value) for node, value in zip((A, B, C), values, strict=False)]


@pytest.mark.parametrize(
    ("servers", "step"),
    [
        (facts((2, 1, True), (1, 1, True), (1, 1, True)), Fetch(B)),
        (facts((2, 1, True), (2, 1, True), (0, 0, False)), Fetch(C)),
        (facts((2, 1, True), (2, 1, True), (2, 1, True)), Renew(A)),
        (facts((2, 2, True), (2, 1, True), (2, 1, True)), Renew(B)),
        (facts((2, 2, False), (2, 1, True), (2, 1, True)), Wait(f"{A} is not well")),
        (facts((2, 2, True), (2, 1, True), (2, 1, False)), Wait(f"{C} is not well")),
        (facts((2, 2, True), (2, 2, True), (2, 2, True)), Done()),
        (facts((3, 2, True), (2, 2, True)), Wait(f"{A} is past generation 2")),
        ([], Wait("no server is known")),
    ],
)
def test_a_rotation_goes_one_server_at_a_time(servers: list[ServerFact], step: Step) -> None:
    assert next_step(2, servers) == step
    assert step.describe()


@pytest.mark.parametrize("ill", [None, A, B, C])
def test_a_rotation_walked_from_every_state_ends_or_waits_for_the_ill(ill: str | None) -> None:
    """Level-triggered: whatever was done already, steps lead to the end, and at most one server restarts at a time."""
    options = [(1, 1), (2, 1), (2, 2)]
    for a in options:
        for b in options:
            for c in options:
                state = dict(zip((A, B, C), (a, b, c), strict=True))
                for _ in range(10):
                    servers = [ServerFact(node, *pair, node != ill) for node, pair in state.items()]
                    match next_step(2, servers):
                        case Fetch(node):
                            assert state[node][0] == 1
                            state[node] = (2, state[node][1])
                        case Renew(node):
                            assert ill is None and all(holds == 2 for holds, _ in state.values())
                            state[node] = (2, 2)
                        case Wait(why):
                            assert ill is not None and ill in why
                            break
                        case Done():
                            assert ill is None and set(state.values()) == {(2, 2)}
                            break
                else:
                    pytest.fail("no end")


def test_secrets_read_back_from_json(tmp_path: Path) -> None:
    assert msgspec.json.decode(msgspec.json.encode(SECRETS), type=SiteSecrets) == SECRETS
