"""The Kubernetes step: writes a ConfigMap, reads it back, deletes it. No object outlives its run for long.

Every object carries the labels below. What an interrupted run or a killed process left is removed by them before
the next object is written; there is one synthetic client per site, so what carries its labels is its own.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from agents.core.errors import Rejected, Retryable
from agents.core.ports import Clock, Object
from synthetic_client.scenario import Kubernetes
from synthetic_client.tally import Kind, StepFailed

MANAGED_BY = "galley-synthetic-client"


class Api(Protocol):
    """The part of agents.io.kube.Kube that is used."""

    async def request(
        self, method: str, path: str, *, params: Any = None, body: Object | None = None, timeout: float = 10.0
    ) -> Object:
        """Raises Retryable or KubeRejected."""

    async def aclose(self) -> None:
        """Closes the connection."""


class KubernetesRunner:
    """Runs a Kubernetes step. `connect` makes the client; it may raise Rejected and is asked again the next time."""

    def __init__(self, step: Kubernetes, scenario: str, connect: Callable[[], Awaitable[Api]], clock: Clock) -> None:
        self._step = step
        self._scenario = scenario
        self._connect = connect
        self._clock = clock
        self._api: Api | None = None
        self._is_clean = False
        self._path = f"/api/v1/namespaces/{step.namespace}/configmaps"

    @property
    def labels(self) -> dict[str, str]:
        """What marks this step's objects."""
        return {"app.kubernetes.io/managed-by": MANAGED_BY, "synthetic.galley/step": self._step.name}

    async def run(self) -> float:
        """From the write until the deletion is confirmed; leftovers are removed first, outside the measured time."""
        try:
            if self._api is None:
                self._api = await self._connect()
            if not self._is_clean:
                await self._clean(self._api)
            return await self._round(self._api)
        except (Rejected, Retryable) as error:
            raise _failure(error) from None

    async def aclose(self) -> None:
        """Removes what an interrupted run left, bounded, and closes the connection."""
        if self._api is None:
            return
        try:
            async with asyncio.timeout(1.0):
                if not self._is_clean:
                    await self._clean(self._api)
        except (Rejected, Retryable, TimeoutError):
            pass  # the next start removes it
        finally:
            await self._api.aclose()

    async def _clean(self, api: Api) -> None:
        selector = ",".join(f"{key}={value}" for key, value in self.labels.items())
        found = await api.request("GET", self._path, params={"labelSelector": selector})
        for item in found.get("items") or ():
            await self._delete(api, item["metadata"]["name"])
        self._is_clean = True

    async def _round(self, api: Api) -> float:
        name = f"synthetic-{self._step.name}-{secrets.token_hex(6)}"
        token = secrets.token_hex(16)
        body: Object = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {**self.labels, "synthetic.galley/scenario": self._scenario}},
            "data": {"token": token},
        }
        limit = self._step.timeout_seconds
        started = self._clock.monotonic()
        self._is_clean = False
        await api.request("POST", self._path, body=body, timeout=limit)
        found = await api.request("GET", f"{self._path}/{name}", timeout=limit)
        is_same = (found.get("data") or {}).get("token") == token
        await self._delete(api, name)
        self._is_clean = True
        seconds = self._clock.monotonic() - started
        if not is_same:
            raise StepFailed(Kind.BODY, "another content was read than written")
        return seconds

    async def _delete(self, api: Api, name: str) -> None:
        try:
            await api.request("DELETE", f"{self._path}/{name}", timeout=self._step.timeout_seconds)
        except Rejected as error:
            if getattr(error, "status", 0) != 404:
                raise


def _failure(error: Rejected | Retryable) -> StepFailed:
    text = error.cause if isinstance(error, Rejected) else str(error)
    if isinstance(error, Retryable):
        return StepFailed(Kind.TIMEOUT if "no answer in time" in text else Kind.CONNECT, text)
    status = getattr(error, "status", 0)
    if status in (401, 403):
        return StepFailed(Kind.DENIED, text)
    return StepFailed(Kind.STATUS if status else Kind.WAITING, text)
