"""What the contract tests of stores share: a clock to turn, an enrolled device, batches of beats."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agents.contracts.codec import decode
from agents.contracts.identity import EnrolRequest, EnrolStatus
from agents.contracts.ingest import IngestRequest
from agents.core.jose import SoftwareKey
from cloud_endpoint.store import (
    enrol,
    ingest,
    sites,
)
from cloud_endpoint.store.port import Store, Tx

NOW = 1_700_000_000_000
Opener = Callable[[], Awaitable[Store]]


class Clock:
    """The store's clock, turned by the test."""

    def __init__(self) -> None:
        self.ms = NOW

    def __call__(self) -> int:
        return self.ms


def batch(seqs: list[int], run: str = "0" * 16, t: int = 1, sent: int | None = None) -> IngestRequest:
    body = '{"kind":"beat","boot":"01234567","up":%d,"ok":1}'
    messages = ",".join(f'{{"seq":{n},"t":{t},"m":{body % n}}}' for n in seqs)
    said = "" if sent is None else f'"sent":{sent},'
    return decode(f'{{"v":1,"stream":"heartbeat","run":"{run}",{said}"messages":[{messages}]}}', IngestRequest)


async def enrolled(store: Store, hardware: str = "hw", site: str = "store-1", name: str = "n1") -> str:
    """An enrolled device's node id."""
    request = EnrolRequest(
        hardware_id=hardware,
        signing=SoftwareKey.generate().public,
        sealing=SoftwareKey.generate().public,
        proof="",
        code="code",
    )

    def work(tx: Tx) -> str:
        sites.put(tx, site, {}, None)
        sites.ship(
            tx,
            hardware_id=hardware,
            site=site,
            name=name,
            address="",
            proof="code",
            code_hash=enrol.code_hash(hardware, "code"),
        )
        said = enrol.enrol(tx, request, "")
        assert said.status is EnrolStatus.ENROLLED
        return said.node

    return await store.write(work)


async def take(store: Store, node: str, request: IngestRequest, site: str = "store-1"):  # type: ignore[no-untyped-def]
    messages = ingest.read(request)
    return await store.write(lambda tx: ingest.ingest(tx, node, site, request, messages))
