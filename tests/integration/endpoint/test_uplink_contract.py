"""The uplink's contract: the in-memory cloud of the unit tests and the real endpoint answer the same batches alike."""

from __future__ import annotations

import random
import secrets

import msgspec
import pytest

from agents.contracts.codec import encode
from agents.contracts.ids import Stream
from agents.contracts.ingest import Envelope, IngestRequest
from agents.contracts.messages import Beat
from agents.core.errors import Rejected
from agents.core.settings import EndpointSettings
from agents.io.uplink import HttpUplink
from tests.fakes.cloud import FakeCloud
from tests.site_in_a_box.endpoint import EndpointClient


def batches(dice: random.Random, run: str) -> list[IngestRequest]:
    """Overlapping, repeated and reordered batches of one run, some with dropped ranges, some with a bad message.

    As an outbox sends them: a number always means the same message, and what is dropped is never sent later.
    """
    dropped = {n for n in range(1, 201) if dice.random() < 0.1}
    made = []
    for _ in range(30):
        first = dice.randrange(1, 190)
        sent = [n for n in range(first, first + dice.randrange(1, 12)) if n not in dropped]
        dice.shuffle(sent)
        ranges = [(n, n, "beat") for n in sorted(dropped) if dice.random() < 0.2]
        made.append(
            IngestRequest(stream=Stream.HEARTBEAT, run=run, messages=[message(n) for n in sent], dropped=ranges)
        )
    return made


def message(seq: int) -> Envelope:
    body = encode(Beat(boot="01234567", up=seq, ok=1)) if seq % 17 else b'{"kind":"beat"}'
    return Envelope(seq=seq, t=seq, m=msgspec.Raw(body))


async def uplink(device: EndpointClient) -> HttpUplink:
    settings = EndpointSettings(
        urls=[device.endpoint.url], issuer=device.endpoint.issuer, ca_file=str(device.endpoint.ca_file)
    )

    async def token() -> str:
        return device.tokens.get("heartbeat:write") or await device.login("heartbeat:write")

    return HttpUplink(settings, token)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_fake_and_real_answer_alike(device: EndpointClient, operator: EndpointClient, seed: int) -> None:
    fake = FakeCloud()
    fake.reject = lambda body: "" if b'"up"' in body else "no"
    real = await uplink(device)
    run = secrets.token_hex(8)
    rejected: set[int] = set()
    try:
        for request in batches(random.Random(seed), run):
            expected, answer = await fake.ingest(request), await real.ingest(request)
            assert (answer.ack, answer.have) == (expected.ack, expected.have)
            told = {one.seq for one in answer.rejected}
            assert not told & rejected, "told of twice"
            rejected |= told
    finally:
        await real.aclose()
    assert rejected == set(fake.runs[run].rejected)
    seen = await operator.call("GET", f"/v1/fleet/nodes/{device.name}/streams")
    assert seen["streams"][0]["dropped"] == len(fake.runs[run].dropped)
    assert seen["streams"][0]["rejected"] == len(rejected)


async def test_what_the_endpoint_refuses_is_rejected_for_the_sender(device: EndpointClient) -> None:
    real = await uplink(device)
    try:
        with pytest.raises(Rejected, match="needs the scope"):
            await real.ingest(IngestRequest(stream=Stream.VESSEL, run="0" * 16))
    finally:
        await real.aclose()
