"""TLS contexts made of a roster: handshakes in memory, by OpenSSL's judgement alone and by the second look alone."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agents.contracts.identity import Member
from agents.contracts.ids import node_id
from agents.core.jose import SoftwareKey
from edge_commander.memory import Memory
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.siblings import tls as tls_module
from edge_commander.siblings.certificate import Leaf, LeafKeeper
from edge_commander.siblings.issuing import anchor, issue_leaf
from edge_commander.siblings.tls import CheckedObject, SiblingContext, SiblingTls
from edge_commander.siblings.verify import BACKDATE_MS, LIFETIME_MS, NotValidNow, Peer, judge
from edge_commander.times import Times
from edge_commander.trusted_time import ClockNotTrusted
from tests.fakes.clock import VirtualClock
from tests.fakes.siblings import TurnedTime

A, B = node_id("nuc-a"), node_id("nuc-b")
KEY_A, KEY_B = SoftwareKey.generate(), SoftwareKey.generate()
ROSTER = [Member(node=A, name="a", signing=KEY_A.public), Member(node=B, name="b", signing=KEY_B.public)]
NOW = TurnedTime().now_ms()
P256 = {"kty": "EC", "crv": "P-256"}


def leaf_file(path: Path, node: str, signer: SoftwareKey, now_ms: int = NOW) -> Leaf:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate = issue_leaf(node, signer, key.public_key(), now_ms)
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return Leaf(path, 1, now_ms)


def believe(node: str) -> Callable[[bytes | None], Peer]:
    return lambda der: Peer(node, "any", 0)


def shake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both sides of one handshake in memory, then a byte each way (a TLS 1.3 client is done before the server)."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = client.wrap_bio(to_client, to_server, server_hostname=name)
    right = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [left, right]
    for _ in range(10):
        for one in list(waiting):
            try:
                one.do_handshake()
                waiting.remove(one)
            except ssl.SSLWantReadError:
                continue
    assert not waiting
    left.write(b"x")
    right.write(b"y")
    assert (right.read(), left.read()) == (b"x", b"y")
    return left, right


def contexts(
    folder: Path, client_leaf: Leaf, server_leaf: Leaf, roster: Sequence[Member] = ROSTER
) -> tuple[SiblingContext, SiblingContext]:
    """Client and server that believe whatever OpenSSL lets through."""
    keys = tls_module.trusted_keys(roster)
    return (
        tls_module._new(False, client_leaf, keys, believe(B)),
        tls_module._new(True, server_leaf, keys, believe(A)),
    )


def test_two_members_shake_hands_and_know_each_other(tmp_path: Path) -> None:
    client, server = contexts(tmp_path, leaf_file(tmp_path / "a", A, KEY_A), leaf_file(tmp_path / "b", B, KEY_B))
    left, right = shake(client, server, B)
    assert left.version() == right.version() == "TLSv1.3"
    assert isinstance(left, CheckedObject) and isinstance(right, CheckedObject)
    assert left.peer is not None and left.peer.node == B
    assert right.peer is not None and right.peer.node == A


@pytest.mark.parametrize(
    ("node", "signer", "age_ms", "roster"),
    [
        (A, SoftwareKey.generate(), 0, ROSTER),
        (node_id("nuc-z"), SoftwareKey.generate(), 0, ROSTER),
        (A, KEY_B, 0, ROSTER),
        (A, KEY_A, LIFETIME_MS + 1000, ROSTER),
        (A, KEY_A, -BACKDATE_MS - 3_600_000, ROSTER),
        (A, KEY_A, 0, ROSTER[1:]),
        (A, KEY_A, 0, []),
    ],
    ids=["strange key", "stranger", "another's name", "old", "of the future", "removed", "empty roster"],
)
def test_openssl_alone_refuses_a_client(
    tmp_path: Path, node: str, signer: SoftwareKey, age_ms: int, roster: list[Member]
) -> None:
    bad = leaf_file(tmp_path / "bad", node, signer, NOW - age_ms)
    client, _ = contexts(tmp_path, bad, leaf_file(tmp_path / "b", B, KEY_B))
    _, server = contexts(tmp_path, bad, leaf_file(tmp_path / "b", B, KEY_B), roster)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(client, server, B)


@pytest.mark.parametrize(
    ("node", "signer", "age_ms"),
    [(B, SoftwareKey.generate(), 0), (B, KEY_A, 0), (A, KEY_A, 0), (B, KEY_B, LIFETIME_MS + 1000)],
    ids=["strange key", "another's name", "another member", "old"],
)
def test_openssl_alone_refuses_a_server(tmp_path: Path, node: str, signer: SoftwareKey, age_ms: int) -> None:
    client, server = contexts(
        tmp_path, leaf_file(tmp_path / "a", A, KEY_A), leaf_file(tmp_path / "bad", node, signer, NOW - age_ms)
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(client, server, B)


@pytest.mark.parametrize("side", ["client", "server"])
def test_the_second_look_alone_refuses(tmp_path: Path, side: str) -> None:
    """As if OpenSSL had let a wrong name through: judge's word ends the handshake."""
    client, server = contexts(tmp_path, leaf_file(tmp_path / "a", A, KEY_A), leaf_file(tmp_path / "b", B, KEY_B))
    strict = SiblingTls(B, KEY_B, lambda: [], TurnedTime(), tmp_path).judge
    (client if side == "client" else server).judge = strict
    with pytest.raises(ssl.SSLCertVerificationError, match="not in the roster"):
        shake(client, server, B)


def test_a_client_takes_no_other_member_for_the_one_it_asked(tmp_path: Path) -> None:
    client, server = contexts(tmp_path, leaf_file(tmp_path / "a", A, KEY_A), leaf_file(tmp_path / "b", B, KEY_B))
    client.judge = believe(A)
    with pytest.raises(ssl.SSLCertVerificationError, match="answers where"):
        shake(client, server, B)


def test_older_tls_and_no_certificate_are_refused(tmp_path: Path) -> None:
    client, server = contexts(tmp_path, leaf_file(tmp_path / "a", A, KEY_A), leaf_file(tmp_path / "b", B, KEY_B))
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate"):
        shake(old, server, B)
    old.load_cert_chain(tmp_path / "a")
    shake(old, server, B)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
        shake(old, server, B)
    old_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old_server.load_cert_chain(tmp_path / "b")
    old_server.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
        shake(client, old_server, B)


def test_openssls_own_command_reads_leaf_and_anchor(tmp_path: Path) -> None:
    leaf = leaf_file(tmp_path / "leaf.pem", A, KEY_A)
    for name, node, key in (("a", A, KEY_A), ("b", B, KEY_B), ("a-of-b", A, KEY_B)):
        (tmp_path / f"{name}.pem").write_bytes(anchor(node, key.public, ec.generate_private_key(ec.SECP256R1())))

    def verify(anchor_name: str, *more: str) -> tuple[int, str]:
        done = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-partial_chain", "-CAfile", tmp_path / f"{anchor_name}.pem", *more,
             leaf.path],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    for purpose in ("sslserver", "sslclient"):
        assert verify("a", "-purpose", purpose, "-verify_hostname", A)[0] == 0
    assert "hostname mismatch" in verify("a", "-verify_hostname", B)[1]
    assert verify("b")[0] != 0 and verify("a-of-b")[0] != 0


async def test_a_leaf_is_kept_renewed_at_two_thirds_and_never_made_by_a_wrong_clock(tmp_path: Path) -> None:
    time = TurnedTime()
    keeper = LeafKeeper(A, KEY_A, tmp_path, time)
    time.reason = Reason(Why.CLOCK, "it is 1970")
    with pytest.raises(ClockNotTrusted, match="it is 1970") as waiting:
        await keeper.leaf()
    assert waiting.value.reason == time.reason and not keeper.path.exists()
    time.reason = NOTHING
    first = await keeper.leaf()
    assert keeper.path.stat().st_mode & 0o777 == 0o600
    content = keeper.path.read_bytes()
    time.offset_ms = LIFETIME_MS * 2 // 3 - 60_000
    assert await keeper.leaf() == first and keeper.path.read_bytes() == content
    time.offset_ms += 120_000
    time.reason = Reason(Why.CLOCK, "not now")
    assert await keeper.leaf() == first, "what cannot be renewed is used until it ends"
    time.reason = NOTHING
    second = await keeper.leaf()
    assert second.number == 2 and keeper.path.read_bytes() != content
    time.offset_ms = 0
    assert (await keeper.leaf()).number == 3, "the clock was set back: a leaf of the future is worth nothing"
    keeper.path.unlink()
    assert (await keeper.leaf()).number == 4
    time.offset_ms, time.reason = 2 * LIFETIME_MS, Reason(Why.CLOCK, "not now")
    with pytest.raises(ClockNotTrusted):
        await keeper.leaf()


async def test_clocks_at_1970_and_ten_years_on(tmp_path: Path) -> None:
    """By the commander's own times: what the endpoint said, or that an image was built, makes a wrong clock known."""
    clock = VirtualClock()
    true_s = clock.wall_ms() // 1000
    times = Times(clock, Memory(tmp_path), image_build_s=true_s - 1000)
    keeper = LeafKeeper(A, KEY_A, tmp_path, times)
    ten_years = 10 * 365 * 86400 * 1000
    clock.wall_offset_ms -= clock.wall_ms()
    with pytest.raises(ClockNotTrusted, match="earlier than it can be"):
        await keeper.leaf()
    clock.wall_offset_ms += true_s * 1000 + ten_years
    times.heard(true_s)
    with pytest.raises(ClockNotTrusted, match="ahead of"):
        await keeper.leaf()
    clock.wall_offset_ms -= ten_years
    leaf = await keeper.leaf()
    assert abs(leaf.made_ms - true_s * 1000) < 2000


async def test_without_an_endpoint_a_clock_ten_years_on_makes_what_no_sibling_takes(tmp_path: Path) -> None:
    clock = VirtualClock()
    true_ms = clock.wall_ms()
    clock.wall_offset_ms += 10 * 365 * 86400 * 1000
    leaf = await LeafKeeper(A, KEY_A, tmp_path, Times(clock, Memory(tmp_path), 0)).leaf()
    der = ssl.PEM_cert_to_DER_cert("-----BEGIN C" + leaf.path.read_text().partition("-----BEGIN C")[2])
    with pytest.raises(NotValidNow, match="not yet valid"):
        judge(der, ROSTER, true_ms)


@pytest.mark.parametrize("of_the_last_day", [0, 3600 * 1000, 10**15])
async def test_a_time_past_all_calendars_makes_no_leaf_and_ends_no_daemon(tmp_path: Path, of_the_last_day: int) -> None:
    """An endpoint, and a clock that agrees with it, in the year 9999 or later: no certificate can say when it ends."""
    clock = VirtualClock()
    times = Times(clock, Memory(tmp_path), image_build_s=0)
    nonsense = 253_402_214_400_000 + of_the_last_day  # 31 December 9999, and on
    clock.wall_offset_ms += nonsense - clock.wall_ms()
    times.heard(nonsense)
    with pytest.raises(ClockNotTrusted, match="past the year 9998") as waiting:
        await LeafKeeper(A, KEY_A, tmp_path, times).leaf()
    assert waiting.value.reason.why is Why.CLOCK
    clock.wall_offset_ms += NOW - clock.wall_ms()
    times.heard(NOW)
    assert (await LeafKeeper(A, KEY_A, tmp_path, times).leaf()).number == 1, "well again with the endpoint's next word"


async def test_contexts_are_kept_until_roster_keys_or_leaf_change(tmp_path: Path) -> None:
    roster, time = list(ROSTER), TurnedTime()
    tls = SiblingTls(A, KEY_A, lambda: roster, time, tmp_path)
    first = await tls.server_context()
    roster[1] = Member(node=B, name="renamed", address="10.0.0.9", signing=KEY_B.public)
    assert await tls.server_context() is first
    del roster[1]
    second = await tls.server_context()
    assert second is not first
    time.offset_ms = LIFETIME_MS * 2 // 3 + 1000
    assert await tls.server_context() is not second


def test_nothing_private_shows(tmp_path: Path) -> None:
    leaf = leaf_file(tmp_path / "a", A, KEY_A)
    assert "PRIVATE" not in repr(leaf) + repr(SiblingTls(A, KEY_A, lambda: [], TurnedTime(), tmp_path))
