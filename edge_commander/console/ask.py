"""Asks a running commander for its status, at its socket, by a dozen bytes of HTTP/1.0. Touches that socket.

`http.client`, with `email` and `ssl` behind it, was a tenth of what console and page load, for this one question.
"""

from __future__ import annotations

import re
import socket as sockets
from pathlib import Path

import msgspec

from edge_commander.view import StatusDocument

MAX_ANSWER = 65536
MAX_HEAD = 8192
ASK_SECONDS = 3.0
REQUEST = b"GET /v1/status HTTP/1.0\r\nHost: identity\r\n\r\n"
"""Of this version, so that the answer comes as it is, and ends with the connection (RFC 9112, 6.1 and 6.3)."""
_WELL = re.compile(rb"HTTP/1\.[01] 200[ \r]")


def ask(socket: Path) -> StatusDocument | None:
    """Asks a running commander; None when none answers, or does not answer this user. Blocking, for 3 s at most."""
    try:
        with sockets.socket(sockets.AF_UNIX) as link:
            link.settimeout(ASK_SECONDS)
            link.connect(str(socket))
            link.sendall(REQUEST)
            answer = bytearray()
            while len(answer) <= MAX_HEAD + MAX_ANSWER and (piece := link.recv(65536)):
                answer += piece
        head, _, body = bytes(answer).partition(b"\r\n\r\n")
        return msgspec.json.decode(body, type=StatusDocument) if _WELL.match(head) else None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
