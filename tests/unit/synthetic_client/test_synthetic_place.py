"""Where the synthetic client stands: remembered for a start offline; a damaged memory is reported, once."""

import pytest

from agents.contracts.identity import SiteDocument
from agents.contracts.ids import Stream
from agents.core.errors import Retryable
from agents.io.state import StateFile
from synthetic_client.place import Place, Whereabouts
from tests.fakes.clock import VirtualClock
from tests.fakes.outbox import MemoryOutbox

HERE = Place(site="store-1", node="n-abcdefghij234567")


class Socket:
    """An identity socket that answers or not."""

    def __init__(self, *, silent=False):
        self.silent = silent

    async def site(self):
        if self.silent:
            raise Retryable("nobody answers")
        return SiteDocument(generation=1, site=HERE.site, node=HERE.node, labels={}, roster=[], endpoints=[])


def whereabouts(folder, outbox, **socket):
    return Whereabouts(Socket(**socket), StateFile(folder / "place.json", Place), outbox)


@pytest.fixture
def outbox():
    return MemoryOutbox(Stream.SYNTHETIC, VirtualClock())


async def test_what_was_told_once_serves_while_the_socket_is_silent(tmp_path, outbox):
    assert await whereabouts(tmp_path, outbox)() == HERE
    assert await whereabouts(tmp_path, outbox, silent=True)() == HERE
    assert await outbox.pending() == 0


async def test_a_damaged_memory_is_set_aside_and_reported_once(tmp_path, outbox):
    (tmp_path / "place.json").write_text("{")
    place = whereabouts(tmp_path, outbox, silent=True)
    for _ in range(2):
        with pytest.raises(Retryable):
            await place()
    (one,) = (await outbox.batch(10, 10_000)).messages
    assert b"state-quarantined" in bytes(one.m) and b"place.json.corrupt-1" in bytes(one.m)
    assert await whereabouts(tmp_path, outbox)() == HERE and await outbox.pending() == 1
