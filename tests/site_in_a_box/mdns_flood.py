"""A liar on the LAN: announces thousands of addresses and nodes by mDNS. Run in a namespace that a test made.

python -m tests.site_in_a_box.mdns_flood OWN_ADDRESS VICTIM COUNT
"""

from __future__ import annotations

import socket
import sys
import time

from zeroconf import DNSAddress, DNSOutgoing, DNSPointer, DNSService

from agents.contracts.ids import node_id
from edge_commander.discovery.hints import SERVICE

RESPONSE, IN_UNIQUE, A, PTR, SRV = 0x8400, 0x8001, 1, 12, 33
GROUP = ("224.0.0.251", 5353)


def datagram(node: str, address: str) -> bytes:
    """What a node of that id would announce at that address."""
    out = DNSOutgoing(RESPONSE)
    name = f"{node}.{SERVICE}"
    out.add_answer_at_time(DNSPointer(SERVICE, PTR, 1, 4500, name), 0)
    out.add_answer_at_time(DNSService(name, SRV, IN_UNIQUE, 120, 0, 0, 9411, f"{node}.local."), 0)
    out.add_answer_at_time(DNSAddress(f"{node}.local.", A, IN_UNIQUE, 120, socket.inet_aton(address)), 0)
    return out.packets()[0]


def main() -> None:
    """Half of the lies are about the victim's address, half about nodes that are none; a few are no DNS at all."""
    own, victim, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
        out.bind((own, 5353))
        for number in range(count):
            node = victim if number % 2 else node_id(f"liar {number}")
            out.sendto(datagram(node, f"10.66.{number // 250 % 250}.{number % 250}"), GROUP)
            if number % 10 == 0:
                out.sendto(bytes(number % 256 for _ in range(number % 1200)), GROUP)
                time.sleep(0.002)


if __name__ == "__main__":
    main()
