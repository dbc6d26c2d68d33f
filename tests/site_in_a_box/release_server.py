"""An https server that shows a folder of releases to nodes, with ranges, over a line that can be cut.

It stands on a thread of the test's process. `cut(name, at)`: whoever fetches that file loses the line once, amid it.
"""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PIECE = 65536


class ReleaseServer:
    """`asked`: (path, first byte) of each request, in order; `sent`: bytes of each path."""

    def __init__(self, folder: Path, certificate: Path, key: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, int]] = []
        self.sent: dict[str, int] = {}
        self.cuts: dict[str, int] = {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """On loopback."""
        return int(self._server.server_address[1])

    def cut(self, path: str, at: int) -> None:
        """Once, after `at` bytes of it."""
        self.cuts[path] = at

    @contextmanager
    def serving(self) -> Iterator[ReleaseServer]:
        """While it is open."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def _handler(server: ReleaseServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            file = server.folder / self.path.lstrip("/")
            if ".." in self.path or not file.is_file():
                self.send_error(404)
                return
            size = file.stat().st_size
            found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(found[1]) if found else 0
            server.asked.append((self.path, start))
            self.send_response(206 if found else 200)
            self.send_header("Content-Length", str(size - start))
            if found:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.end_headers()
            self._send(file, start)

        def _send(self, file: Path, at: int) -> None:
            end = server.cuts.get(self.path, 0)
            with file.open("rb") as stream:
                stream.seek(at)
                while data := stream.read(PIECE):
                    if end and at + len(data) > end:
                        server.cuts.pop(self.path, None)
                        self.close_connection = True
                        return
                    try:
                        self.wfile.write(data)
                    except OSError:  # the node is off
                        self.close_connection = True
                        return
                    at += len(data)
                    server.sent[self.path] = server.sent.get(self.path, 0) + len(data)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler
