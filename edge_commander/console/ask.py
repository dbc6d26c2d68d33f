"""Asks a running commander for its status, at its socket, with the standard library alone. Touches that socket."""

from __future__ import annotations

import http.client
import socket as sockets
from pathlib import Path

import msgspec

from edge_commander.view import StatusDocument

MAX_ANSWER = 65536
ASK_SECONDS = 3.0


def ask(socket: Path) -> StatusDocument | None:
    """Asks a running commander; None when none answers, or does not answer this user. Blocking, for 3 s at most."""
    connection = http.client.HTTPConnection("identity")
    try:
        connection.sock = sockets.socket(sockets.AF_UNIX)
        connection.sock.settimeout(ASK_SECONDS)
        connection.sock.connect(str(socket))
        connection.request("GET", "/v1/status")
        answer = connection.getresponse()
        if answer.status != 200:
            return None
        return msgspec.json.decode(answer.read(MAX_ANSWER), type=StatusDocument)
    except (http.client.HTTPException, OSError, msgspec.MsgspecError):
        return None
    finally:
        connection.close()
