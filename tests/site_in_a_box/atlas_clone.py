"""What the tests of the Atlas' clone share: a repository with two files, a server for it, and looks at folders."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from vessel.git.remote import Remote
from vessel.git.repository import AtlasRepository

MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def atlas(tmp_path: Path, url: str, branch: str = "main", **options: object) -> AtlasRepository:
    remote = Remote(url, branch, ca_file=str(options.pop("ca_file", "")))
    return AtlasRepository(tmp_path / "state", remote, **options)  # type: ignore[arg-type]


def files(tree: Path) -> dict[str, bytes]:
    return {str(p.relative_to(tree)): p.read_bytes() for p in sorted(tree.rglob("*")) if p.is_file()}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in sorted(folder.rglob("*"))}


class Serve:
    """A server of one handler on loopback."""

    def __init__(self, handler: object) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handler)  # type: ignore[arg-type]
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
