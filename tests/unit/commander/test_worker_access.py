"""What a member signs for a worker, whom it refuses, and what workers may ask of a server at all."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from agents.contracts.codec import decode, encode
from agents.contracts.identity import Member
from agents.contracts.siblings import AccessAnswer, AccessRequest
from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.kubeadm.certs import new_key
from edge_commander.formation import worker_access
from edge_commander.formation.site import Site
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.secrets.authority import make_secrets
from edge_commander.trusted_time import ClockNotTrusted

SERVER, WORKER = Member(node="n-s", name="nuc-1"), Member(node="n-w", name="till-1")
SITE = Site(site="store-1", me="n-s", epoch=1, roster=(SERVER, Member(node="n-t", name="nuc-2")), workers=(WORKER,))


class Time:
    def __init__(self, problem: Reason = NOTHING) -> None:
        self._problem = problem

    def now_ms(self) -> int:
        return int(datetime.datetime.now(datetime.UTC).timestamp() * 1000)

    def problem(self) -> Reason:
        return self._problem


SECRETS = make_secrets("store-1", 1, Time())


def body(key: str | None = None, epoch: int = 1) -> bytes:
    return encode(AccessRequest(epoch=epoch, key=new_key()[1] if key is None else key))


def give(*, held: Any = SECRETS, member: bool = True, time: Time | None = None) -> Any:
    return worker_access.give(lambda: SITE, lambda: held, lambda: member, time or Time())


async def test_it_signs_for_the_very_node_of_the_roster_and_for_little_time() -> None:
    private, public = new_key()
    status, said = await give()("n-w", body(public))
    answer = decode(said, AccessAnswer)
    assert status == 200 and answer.authority == SECRETS.cluster.cert
    authority = x509.load_pem_x509_certificate(answer.authority.encode())
    names = {}
    for text, life in ((answer.kubelet, datetime.timedelta(hours=3)), (answer.commander, worker_access.WATCH_LIFE)):
        made = x509.load_pem_x509_certificate(text.encode())
        made.verify_directly_issued_by(authority)
        assert made.not_valid_after_utc - datetime.datetime.now(datetime.UTC) <= life
        assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        own = serialization.load_pem_private_key(private.encode(), None)
        assert made.public_key() == own.public_key()
        names[text] = made.subject.rfc4514_string()
    assert names == {answer.kubelet: "CN=system:node:till-1,O=system:nodes", answer.commander: "CN=galley-worker"}
    for key in (SECRETS.cluster.key, SECRETS.token, "PRIVATE"):
        assert key not in said.decode()


@pytest.mark.parametrize("peer", ["n-s", "n-t", "n-x"])
async def test_a_server_and_a_stranger_are_given_none(peer: str) -> None:
    assert (await give()(peer, body()))[0] == 403


async def test_who_is_no_member_or_of_another_epoch_signs_nothing() -> None:
    assert (await give(member=False)("n-w", body()))[0] == 404
    assert (await give(held=None)("n-w", body()))[0] == 404
    assert (await give()("n-w", body(epoch=2)))[0] == 404
    assert (await give()("n-w", b"{}"))[0] == 400


async def test_nothing_is_signed_by_a_clock_that_is_not_trusted() -> None:
    with pytest.raises(ClockNotTrusted):
        await give(time=Time(Reason(Why.CLOCK, "ten years on")))("n-w", body())


def pem(key: Any) -> str:
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(serialization.Encoding.PEM, info).decode())


KEYS = {
    "no key": lambda: "x",
    "another curve": lambda: pem(ec.generate_private_key(ec.SECP384R1())),
    "RSA": lambda: pem(rsa.generate_private_key(65537, 2048)),
    "a private key": lambda: new_key()[0],
}


@pytest.mark.parametrize("what", KEYS)
async def test_other_keys_are_not_signed(what: str) -> None:
    with pytest.raises(Rejected, match="no public P-256 key"):
        await give()("n-w", body(KEYS[what]()))


async def test_of_a_servers_own_routes_a_worker_gets_none() -> None:
    async def secret(peer: str, body: bytes) -> tuple[int, bytes]:
        return 200, b"secret"

    table = worker_access.for_servers({("POST", "/v1/secrets"): secret}, lambda: SITE)
    handler = table["POST", "/v1/secrets"]
    assert await handler("n-w", b"") == (403, b"") and await handler("n-x", b"") == (403, b"")
    assert await handler("n-t", b"") == (200, b"secret")


class Channel:
    def __init__(self, answer: bytes) -> None:
        self.answer, self.asked = answer, b""

    async def call(self, member: Member, method: str, path: str, body: bytes = b"", timeout: float = 5.0) -> bytes:
        self.asked = body
        return self.answer


async def test_the_private_key_stays_here() -> None:
    said = encode(AccessAnswer(authority="A", kubelet="K", commander="C"))
    channel = Channel(said)
    access = await worker_access.ask(channel, SERVER, 1)
    assert "PRIVATE" in access.key and "PRIVATE" not in repr(access) and b"PRIVATE" not in channel.asked
    with pytest.raises(Retryable, match="malformed"):
        await worker_access.ask(Channel(b"{}"), SERVER, 1)
    with pytest.raises(Rejected, match="private key"):
        await worker_access.ask(Channel(encode(AccessAnswer(authority="PRIVATE", kubelet="", commander=""))), SERVER, 1)
