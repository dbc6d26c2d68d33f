"""This node's voice and ear on the LAN: announces it by mDNS (RFC 6762, 6763) and takes in what others announce.

Touches the net. What is announced anybody may know: the node's id, its addresses and a port number; no name of the
site. It asks seldom, and never because somebody announced something, so that no stranger makes it talk.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from zeroconf import IPVersion, RecordUpdate, RecordUpdateListener, Zeroconf
from zeroconf._dns import DNSAddress, DNSQuestion
from zeroconf._protocol.outgoing import DNSOutgoing
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
from zeroconf.const import _CLASS_IN, _FLAGS_QR_QUERY, _TYPE_PTR

from agents.core.errors import Retryable
from edge_commander.discovery.hints import SERVICE, node_of_host
from edge_commander.discovery.interfaces import Lan

MAX_CACHED = 256
"""Records after which the library's memory of what it heard is emptied: nothing here asks it."""

Heard = Callable[[str, str], None]


class Ear(RecordUpdateListener):
    """Tells `heard(node, address)` of each address of a host that is called as a node is."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._cached = 0

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        """The library's: what one datagram brought. A farewell (TTL 0) takes no hint away: anybody may send one."""
        self._cached += len(records)
        for update in records:
            record = update.new
            if isinstance(record, DNSAddress) and record.ttl and (node := node_of_host(record.name)):
                self._heard(node, str(ipaddress.ip_address(record.address)))
        if self._cached > MAX_CACHED:
            self._cached = 0
            for name in zc.cache.names():
                zc.cache.async_remove_records(zc.cache.async_entries_with_name(name))
            zc.cache.async_expire(now)


class Voice:
    """One node on one LAN; made anew when the machine's addresses change. `aclose` when done."""

    def __init__(self, node: str, port: int, lan: Lan, heard: Heard) -> None:
        self._node = node
        self._port = port
        self._lan = lan
        self._heard = heard
        self._zeroconf: AsyncZeroconf | None = None

    async def open(self) -> None:
        """Takes UDP port 5353, beside others that share it, and announces. Raises Retryable where it cannot."""
        try:
            zeroconf = AsyncZeroconf(interfaces=list(self._lan.senders), ip_version=IPVersion.V4Only)
        except (OSError, RuntimeError) as error:
            raise Retryable(f"UDP port 5353: {getattr(error, 'strerror', None) or error}") from None
        self._zeroconf = zeroconf
        zeroconf.zeroconf.async_add_listener(Ear(self._heard), None)
        info = AsyncServiceInfo(
            SERVICE,
            f"{self._node}.{SERVICE}",
            port=self._port,
            properties={"v": "1"},
            server=f"{self._node}.local.",
            parsed_addresses=list(self._lan.own),
        )
        # Without asking whether the name is free: whoever says that it is not would keep this node from announcing.
        await (await zeroconf.async_register_service(info, cooperating_responders=True))

    @property
    def works(self) -> bool:
        """False once a socket of it is gone: one datagram that the library does not bear may end its reading."""
        engine = self._zeroconf.zeroconf.engine if self._zeroconf is not None else None
        return engine is not None and not any(one.transport.is_closing() for one in engine.readers)

    def ask(self) -> None:
        """Asks the LAN once who is there."""
        if self._zeroconf is not None:
            question = DNSOutgoing(_FLAGS_QR_QUERY)
            question.add_question(DNSQuestion(SERVICE, _TYPE_PTR, _CLASS_IN))
            self._zeroconf.zeroconf.async_send(question)

    async def aclose(self) -> None:
        """Says farewell and gives the port back."""
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            await zeroconf.async_close()
