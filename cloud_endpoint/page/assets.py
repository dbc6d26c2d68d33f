"""The static files of the page, read once at the start: no build step, nothing from elsewhere."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from aiohttp import web

from cloud_endpoint.page.headers import REVALIDATE
from cloud_endpoint.problem import Problem

TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
PARTS = frozenset({"index.html", "login.html"})
"""Not assets, but served by handlers of their own."""


class Assets:
    """All files of the folder `assets` beside this module."""

    def __init__(self) -> None:
        folder = files("cloud_endpoint.page").joinpath("assets")
        self._files = {
            entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.rpartition(".")[2] in TYPES
        }
        self._tags = {name: hashlib.sha256(data).hexdigest()[:16] for name, data in self._files.items()}

    def text(self, name: str) -> str:
        """A file's text."""
        return self._files[name].decode()

    def answer(self, request: web.Request, name: str) -> web.Response:
        """The file, or 304 where the browser has it already. Raises Problem 404."""
        if name not in self._files:
            raise Problem(404, "no such file")
        tag = self._tags[name]
        headers = {**REVALIDATE, "ETag": f'"{tag}"'}
        if tag in {found.value for found in request.if_none_match or ()}:
            return web.Response(status=304, headers=headers)
        return web.Response(
            body=self._files[name], content_type=TYPES[name.rpartition(".")[2]], charset="utf-8", headers=headers
        )

    async def public(self, request: web.Request) -> web.Response:
        """What the login page needs."""
        return self.answer(request, request.path.rpartition("/")[2])

    async def private(self, request: web.Request) -> web.Response:
        """Everything else."""
        name = request.match_info["name"]
        if name in PARTS:
            raise Problem(404, "no such file")
        return self.answer(request, name)

    async def index(self, request: web.Request) -> web.Response:
        """The page itself."""
        return self.answer(request, "index.html")
