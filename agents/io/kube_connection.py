"""What a client of the API server is connected by: a kubeconfig or a pod's account, read again when it changed.

The only module (with kube_import) that touches kubernetes_asyncio, of which it uses how a kubeconfig or a pod's
account becomes addresses, TLS and credentials.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yaml import YAMLError

from agents.core.errors import Rejected
from agents.io.kube_discovery import Discovery

if TYPE_CHECKING:
    import aiohttp

POD = "KUBERNETES_SERVICE_HOST"
"""What kubelet tells every pod, and what the library asks for first."""
_UNUSABLE = (YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading a kubeconfig ends in, besides the library's own error, where it is none or names files that are gone."""


class SharedConnection:
    """What all views of one connection share. `load` may be tried again until it succeeds; then it does nothing, but
    where the server's certificate was refused and the kubeconfig is another one by now: a cluster that was made anew
    has other authorities. What was opened by the old one is closed with the whole."""

    def __init__(self, kubeconfig: Path | None, user_agent: str) -> None:
        self.kubeconfig = kubeconfig
        self.user_agent = user_agent
        self.client: Any = None
        self.configuration: Any = None
        self.discovery: Discovery | None = None
        self.discovering = asyncio.Lock()
        self._loading = asyncio.Lock()
        self._read: object = None  # what told the kubeconfig from any other when it was read
        self._old: list[Any] = []
        self.doubted = False

    @property
    def session(self) -> aiohttp.ClientSession:
        """The HTTP session, once loaded."""
        session: aiohttp.ClientSession = self.client.rest_client.pool_manager
        return session

    async def load(self) -> None:
        """Reads addresses, TLS and credentials. Raises Rejected when they are not there or not usable."""
        async with self._loading:
            if self.client is None:
                self._read = self._mark()
                await self._load()
            elif self.doubted:
                self.doubted = False
                if (mark := self._mark()) not in (None, self._read):
                    old = self.client
                    await self._load()
                    self._read, self._old = mark, [*self._old, old]

    def _mark(self) -> object:
        """Changes whenever the kubeconfig is replaced; None where there is none."""
        try:
            found = self.kubeconfig.stat() if self.kubeconfig is not None else None
        except OSError:
            return None
        return found and (found.st_ino, found.st_mtime_ns)

    async def aclose(self) -> None:
        """Closes all that was opened."""
        for client in filter(None, [*self._old, self.client]):
            await client.close()

    async def _load(self) -> None:
        kubeconfig = self.kubeconfig
        if _is_absent(kubeconfig):
            raise Rejected("no such kubeconfig", file=str(kubeconfig))
        if kubeconfig is None and POD not in os.environ:
            raise Rejected("not usable: this is no pod, and no kubeconfig is named", file="in-cluster configuration")
        from agents.io import kube_import as library  # a node that has no cluster yet does without it

        configuration = library.Configuration()
        try:
            if kubeconfig is None:
                library.load_incluster_config(client_configuration=configuration)
            else:
                await library.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
            configuration.connection_pool_maxsize = 0  # open watches must not starve requests
            self.client = library.ApiClient(configuration)
        except (library.ConfigException, *_UNUSABLE) as error:
            # Only the kind of error: the text may quote the file, and the file holds credentials.
            where = str(kubeconfig) if kubeconfig else "in-cluster configuration"
            detail = str(error) if isinstance(error, library.ConfigException) else type(error).__name__
            if isinstance(error, YAMLError):
                detail = f"it is not one YAML document ({detail})"
            raise Rejected(f"not usable: {detail}"[:300], file=where) from None
        self.configuration = configuration


def _is_absent(kubeconfig: Path | None) -> bool:
    try:
        return kubeconfig is not None and not kubeconfig.is_file()
    except OSError:
        return False  # what cannot be looked at cannot be read either: then that is said
