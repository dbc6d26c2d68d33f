"""The site's authorities as openssl sees them, the secrets on disk, and how they change."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from agents.contracts.orders import OrderKind, SiteOrder
from agents.core.errors import Rejected
from edge_commander.reasons import Reason, Why
from edge_commander.secrets.authority import (
    SecretsUnsound,
    check,
    make_next,
    make_secrets,
    new_key,
    public_half,
    service_account_public,
)
from edge_commander.secrets.model import SiteSecrets
from edge_commander.secrets.rotation import following, is_due, ordered
from edge_commander.secrets.store import DRAFT, NAME, Draft, SecretsStore
from edge_commander.trusted_time import ClockNotTrusted
from tests.fakes.siblings import TurnedTime

SITE = "store-01234"
SECRETS = make_secrets(SITE, 1, TurnedTime())
LATER = make_secrets(SITE, 2, TurnedTime())


def step(held: SiteSecrets, order: int = 0) -> SiteSecrets:
    return make_next(held, held.generation + 1, order, TurnedTime(), keys=True)


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
    before = datetime.datetime.now(datetime.UTC)
    made = x509.load_pem_x509_certificate(make_secrets(SITE, 1, TurnedTime()).cluster.cert.encode())
    now = datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(days=3649) < made.not_valid_after_utc - now <= datetime.timedelta(days=3650)
    hour, second = datetime.timedelta(hours=1), datetime.timedelta(seconds=1)
    assert before - hour - second <= made.not_valid_before_utc <= now - hour + second
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
    renewed = step(SECRETS)
    store.save(SECRETS)
    store.save(renewed)
    for wrong in (
        SECRETS,
        step(SECRETS),
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


def test_a_rotation_is_three_generations_of_the_same_authorities() -> None:
    """Accepted, then signing, then alone; the token is new at once."""
    known, signs, alone = (one := step(SECRETS, 7)), (two := step(one)), step(two)
    old, new = public_half(SECRETS.service_account_key), public_half(known.service_account_next)
    assert [one.generation for one in (known, signs, alone)] == [2, 3, 4]
    assert [service_account_public(one) for one in (SECRETS, known, signs, alone)] == [old, old + new, new + old, new]
    assert known.service_account_key == SECRETS.service_account_key != signs.service_account_key
    assert known.token == signs.token == alone.token != SECRETS.token
    assert {one.order for one in (known, signs, alone)} == {7}
    assert {one.lasting for one in (known, signs, alone)} == {SECRETS.lasting}
    assert [one.settled for one in (SECRETS, known, signs, alone)] == [True, False, False, True]
    for one in (known, signs, alone):
        check(one)


def test_where_no_keys_change_only_the_number_does() -> None:
    after = make_next(SECRETS, 5, 3, TurnedTime(), keys=False)
    assert after == msgspec.structs.replace(SECRETS, generation=5, order=3)


def test_what_is_not_new_is_no_generation() -> None:
    fresh = {"token": "ab" * 32, "key": new_key(), "public": ""}
    with pytest.raises(Rejected, match="not after"):
        following(SECRETS, 1, 0, **fresh)
    with pytest.raises(Rejected, match="another token"):
        following(SECRETS, 2, 0, **{**fresh, "token": SECRETS.token})
    time = TurnedTime()
    time.reason = Reason(Why.CLOCK, "behind")
    with pytest.raises(ClockNotTrusted):
        make_next(SECRETS, 2, 0, time, keys=True)


def order(number: int, generation: int = 0, epoch: int = 1) -> SiteOrder:
    return SiteOrder(site=SITE, epoch=epoch, kind=OrderKind.ROTATE, number=number, generation=generation, issued_at=1)


@pytest.mark.parametrize(
    ("given", "begins"),
    [
        (None, False),
        (order(1), True),
        (order(1, 2), True),
        (order(1, 1), False),
        (order(1, epoch=2), False),
    ],
)
def test_an_order_is_begun_once_and_only_for_what_is_to_come(given: SiteOrder | None, begins: bool) -> None:
    assert ordered(SECRETS, given) is begins
    assert is_due(SECRETS, given, ran_ms=0, now_ms=0, overlap_ms=1) is begins
    assert not ordered(msgspec.structs.replace(SECRETS, order=1), given)


def test_a_rotation_that_was_begun_goes_on_and_waits_for_the_overlap() -> None:
    known, signs = (one := step(SECRETS)), step(one)
    assert is_due(known, None, ran_ms=0, now_ms=0, overlap_ms=10)
    assert not is_due(signs, order(9), ran_ms=5, now_ms=14, overlap_ms=10)
    assert is_due(signs, None, ran_ms=5, now_ms=15, overlap_ms=10)


def test_keys_that_do_not_fit_are_found_out() -> None:
    for field, text in {
        "service_account_next": SECRETS.service_account_key,
        "service_account_old": "no key",
    }.items():
        with pytest.raises(SecretsUnsound):
            check(msgspec.structs.replace(SECRETS, **{field: text}))


def test_a_draft_is_kept_for_nobody_else_and_goes_with_the_secrets(tmp_path: Path) -> None:
    store = SecretsStore(tmp_path)
    store.save(SECRETS)
    draft = Draft(base=1, secrets=step(SECRETS))
    store.sketch(draft)
    assert (tmp_path / DRAFT).stat().st_mode & 0o777 == 0o600
    again = SecretsStore(tmp_path)
    assert (again.secrets, again.draft) == (SECRETS, draft)
    again.drop()
    assert SecretsStore(tmp_path).draft is None
    store.clear()
    assert list(tmp_path.iterdir()) == []


def test_secrets_read_back_from_json(tmp_path: Path) -> None:
    assert msgspec.json.decode(msgspec.json.encode(SECRETS), type=SiteSecrets) == SECRETS
