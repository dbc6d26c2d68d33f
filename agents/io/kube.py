"""The client of a Kubernetes API server: requests, discovery, lists, watches, server-side apply.

Addresses, TLS and credentials are kube_connection's. Requests go to its HTTP session directly, JSON by msgspec.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from agents.core.errors import Rejected, Retryable
from agents.core.ports import Object
from agents.io import kube_discovery
from agents.io.http_library import aiohttp
from agents.io.kube_connection import SharedConnection
from agents.io.kube_discovery import Discovery, Resource
from agents.io.kube_errors import Gone, KubeRejected, NotServed, ServerFault, error_of

if TYPE_CHECKING:
    from agents.io.kube_gated import Gate, Gated

__all__ = ["Discovery", "Event", "Gone", "Kube", "KubeRejected", "Listed", "NotServed", "Resource", "ServerFault"]

APPLY = "application/apply-patch+yaml"
"""Server-side apply. JSON is YAML, so the body is sent as JSON."""
_MAX_EVENT_BYTES = 16 * 1024 * 1024
_PAGE = 500


@dataclass(frozen=True)
class Listed:
    """The items of a collection as of `resource_version`."""

    items: list[Object]
    resource_version: str


@dataclass(frozen=True)
class Event:
    """One event of a watch. For BOOKMARK the object has a resourceVersion only."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


class Kube:
    """A connection, seen as one user. `acting_as` gives the same connection as another user."""

    def __init__(self, shared: SharedConnection, impersonate: str | None) -> None:
        self._shared = shared
        self.user = impersonate

    @classmethod
    async def connect(cls, *, kubeconfig: Path | None, impersonate: str | None = None, user_agent: str) -> Kube:
        """Loads the configuration (None: in-cluster); sends nothing yet. Raises Rejected when it is not usable."""
        kube = cls(SharedConnection(kubeconfig, user_agent), impersonate)
        await kube._shared.load()
        return kube

    @classmethod
    def deferred(cls, *, kubeconfig: Path | None, user_agent: str) -> Kube:
        """Loads the configuration with the first request. While it is missing or not usable requests are Retryable."""
        return cls(SharedConnection(kubeconfig, user_agent), None)

    def acting_as(self, user: str | None) -> Kube:
        """The same connection, impersonating `user` (such as `system:serviceaccount:ns:name`)."""
        return Kube(self._shared, user)

    @property
    def server(self) -> str:
        """The API server's address; empty while it is not known."""
        return str(self._shared.configuration.host) if self._shared.configuration else ""

    async def aclose(self) -> None:
        """Closes the connection, for all its views."""
        await self._shared.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        timeout: float = 10.0,
        accept: str = "application/json",
        gate: Gate | None = None,
    ) -> Object:
        """One request; the answer's JSON. Raises Retryable (429, 5xx, no connection, timeout) or KubeRejected.

        `gate`, for a request with a body: its exception is raised, and then nothing was sent.
        """
        await self._loaded()
        data = None if body is None else msgspec.json.encode(body)
        gated = _gated(data, gate) if data is not None and gate is not None else None
        headers = await self._headers(accept)
        if data is not None:
            headers["Content-Type"] = content_type
        try:
            async with self._shared.session.request(
                method,
                self._url(path),
                params=params,
                data=data if gated is None else gated,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=timeout),
                allow_redirects=False,
            ) as response:
                answer = await response.read()
                if response.status >= 300:
                    raise error_of(response.status, response.headers, answer, path=path, body=body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if gated is not None and gated.refusal is not None:
                raise gated.refusal from None
            raise self._unreachable(error) from None
        if not answer:
            return {}
        try:
            decoded: Object = msgspec.json.decode(answer)
        except msgspec.DecodeError:
            raise Retryable(f"API server: {method} {path}: the answer is no JSON") from None
        return decoded

    async def discover(self, *, fresh: bool = False, than: Discovery | None = None) -> Discovery:
        """What is served, cached; `fresh` asks again unless a newer one than `than` is there already."""
        shared = self._shared
        async with shared.discovering:
            if shared.discovery is None or (fresh and (than is None or shared.discovery is than)):
                core, groups = await asyncio.gather(
                    self.request("GET", "/api", accept=kube_discovery.ACCEPT),
                    self.request("GET", "/apis", accept=kube_discovery.ACCEPT),
                )
                shared.discovery = kube_discovery.read(core, groups)
            return shared.discovery

    async def get(self, resource: Resource, namespace: str, name: str, *, timeout: float = 10.0) -> Object | None:
        """The object, or None when it does not exist. Raises NotServed when its kind is not served."""
        try:
            return await self.request("GET", resource.path(namespace, name), timeout=timeout)
        except KubeRejected as error:
            if error.status == 404 and not isinstance(error, NotServed):
                return None
            raise

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        selector: str = "",
        timeout: float = 30.0,
        cached: bool = False,
    ) -> Listed:
        """The collection, page by page. `cached`: from the server's watch cache, which may be a moment old."""
        params = {"limit": str(_PAGE)}
        if cached:
            params = {"resourceVersion": "0"}
        if selector:
            params["labelSelector"] = selector
        items: list[Object] = []
        while True:
            page = await self.request("GET", resource.path(namespace), params=params, timeout=timeout)
            items += page.get("items") or ()
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                break
            params["continue"] = meta["continue"]
        for item in items:  # items of a list do not name their kind
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        return Listed(items, str(meta.get("resourceVersion", "")))

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str,
        selector: str = "",
        seconds: int = 300,
    ) -> AsyncIterator[Event]:
        """Events after `resource_version`, with bookmarks, until the server ends the watch (about `seconds`).

        Raises Gone when the version is too old: list anew. Raises Retryable when the connection breaks.
        """
        await self._loaded()
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        }
        if selector:
            params["labelSelector"] = selector
        path = resource.path(namespace)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=seconds + 30)
        try:
            async with self._shared.session.request(
                "GET",
                self._url(path),
                params=params,
                headers=await self._headers("application/json"),
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                if response.status >= 300:
                    raise error_of(response.status, response.headers, await response.read(), path=path)
                async for line in _lines(response):
                    yield _event(line, path)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from None

    async def apply(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Object,
        *,
        manager: str,
        force: bool = True,
        dry_run: bool = False,
        timeout: float = 15.0,
        gate: Gate | None = None,
    ) -> Object:
        """Server-side apply, fields strictly checked. The object as the server has it (or, dry, would have it)."""
        params = {"fieldManager": manager, "force": "true" if force else "false", "fieldValidation": "Strict"}
        if dry_run:
            params["dryRun"] = "All"
        return await self.request(
            "PATCH",
            resource.path(namespace, name),
            params=params,
            body=body,
            content_type=APPLY,
            timeout=timeout,
            gate=gate,
        )

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        dry_run: bool = False,
        timeout: float = 15.0,
        gate: Gate | None = None,
    ) -> bool:
        """Deletes; False when it was not there. With preconditions that fail: KubeRejected, status 409.

        Raises NotServed when its kind is not served: it may be stored, and come back.
        """
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        preconditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v}
        if preconditions:
            options["preconditions"] = preconditions
        if dry_run:
            options["dryRun"] = ["All"]
        try:
            await self.request("DELETE", resource.path(namespace, name), body=options, timeout=timeout, gate=gate)
        except KubeRejected as error:
            if error.status == 404 and not isinstance(error, NotServed):
                return False
            raise
        return True

    async def _loaded(self) -> None:
        try:
            await self._shared.load()
        except Rejected as error:
            raise Retryable(str(error)) from None  # the file may come, or be mended

    def _url(self, path: str) -> str:
        return f"{self._shared.configuration.host}{path}"

    def _unreachable(self, error: BaseException) -> Retryable:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            self._shared.doubted = True
        what = "no answer in time" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"[:300]
        return Retryable(f"API server {self.server}: {what}")

    async def _headers(self, accept: str) -> dict[str, str]:
        headers = {"Accept": accept, "User-Agent": self._shared.user_agent}
        if self.user:
            headers["Impersonate-User"] = self.user
        with contextlib.suppress(KeyError):
            await self._shared.client.update_params_for_auth(headers, [], ["BearerToken"])
        return headers


def _gated(data: bytes, gate: Gate) -> Gated:
    from agents.io.kube_gated import Gated  # aiohttp is loaded when it is first used (http_library.py)

    return Gated(data, gate)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Splits a watch's stream, whatever the length of a line (aiohttp's own line reader has a bound)."""
    rest = bytearray()
    async for chunk in response.content.iter_any():
        rest += chunk
        while (end := rest.find(b"\n")) >= 0:
            line = bytes(rest[:end])
            del rest[: end + 1]
            if line.strip():
                yield line
        if len(rest) > _MAX_EVENT_BYTES:
            raise Retryable("API server: an event of a watch is longer than 16 MiB")


def _event(line: bytes, path: str) -> Event:
    try:
        document: Any = msgspec.json.decode(line)
    except msgspec.DecodeError:
        raise Retryable(f"API server: watch {path}: an event is no JSON") from None
    if document["type"] == "ERROR":
        status = document.get("object") or {}
        raise error_of(int(status.get("code") or 500), {}, msgspec.json.encode(status), path=path)
    return Event(document["type"], document["object"])
