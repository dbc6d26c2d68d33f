"""Who is at the other end of a unix socket, by SO_PEERCRED (unix(7)). Touches that socket."""

from __future__ import annotations

import socket
import struct


def peer_uid(connection: socket.socket) -> int:
    """The uid at the other end when it connected."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("iII", data)[1])
