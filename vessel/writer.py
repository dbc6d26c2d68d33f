"""Touches the API server: the only writes to apps' objects. Each as the app's service account, behind the fence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from agents.contracts.messages import Problem
from agents.core.ports import ApiProblem, Object
from agents.io.kube import Kube, KubeRejected, Resource, ServerFault
from vessel.fields import MANAGER
from vessel.mirror import user_of
from vessel.model import Ref
from vessel.objects import Item, in_namespace

T = TypeVar("T")
_TRIES = 3
SCRATCH = "galley-dryrun"
"""The namespace where objects are dry-run whose own namespace is new in the commit."""
ACCOUNTS = Resource("v1", "ServiceAccount", "serviceaccounts", True)


async def bounded(limit: asyncio.Semaphore, jobs: Iterable[Callable[[], Awaitable[T]]]) -> list[T | BaseException]:
    """Runs jobs, so many at once; results or exceptions in the jobs' order. Cancelled as a whole."""

    async def one(job: Callable[[], Awaitable[T]]) -> T:
        async with limit:
            return await job()

    return await asyncio.gather(*(one(job) for job in jobs), return_exceptions=True)


class Writer:
    """Applies, dry-runs and deletes. `fence` returns the seconds for which a write may be under way, or raises."""

    def __init__(self, kube: Kube, fence: Callable[[], float], concurrency: int) -> None:
        self._kube = kube
        self.fence = fence
        self.limit = asyncio.Semaphore(concurrency)

    async def dry_run(self, item: Item, resource: Resource, *, scratch: bool = False) -> Object:
        """What the object would become. `scratch`: as if it were in the scratch namespace.

        The server answers 500 to some malformed objects (a Secret's data that is no base64): what fails so three
        times is this object's fault, and KubeRejected.
        """
        for attempt in range(_TRIES):
            try:
                return await self._dry_run(item, resource, scratch=scratch)
            except ServerFault as fault:
                if attempt + 1 == _TRIES:
                    text = f"the API server fails on it: {str(fault).removeprefix('API server: ')}"
                    raise KubeRejected(ApiProblem(status=500, reason="InternalError", message=text)) from None
                await asyncio.sleep(0.1)
        raise AssertionError("unreachable")

    async def _dry_run(self, item: Item, resource: Resource, *, scratch: bool) -> Object:
        body, namespace = item.body, item.ref.namespace
        if scratch and namespace:
            body, namespace = in_namespace(body, SCRATCH), SCRATCH
        kube = self._kube.acting_as(user_of(item.account))
        return await kube.apply(resource, namespace, item.ref.name, body, manager=MANAGER, dry_run=True)

    async def apply(self, item: Item, resource: Resource) -> Object:
        """Writes the object; the object as the server has it now."""
        timeout = min(15.0, self.fence())
        kube = self._kube.acting_as(user_of(item.account))
        return await kube.apply(
            resource,
            item.ref.namespace,
            item.ref.name,
            item.body,
            manager=MANAGER,
            timeout=timeout,
            gate=self.fence,
        )

    async def delete(self, ref: Ref, resource: Resource, account: str, *, uid: str, dry_run: bool = False) -> bool:
        """Deletes the object if it still is the one with this uid; False when it was not there."""
        timeout = 15.0 if dry_run else min(15.0, self.fence())
        kube = self._kube.acting_as(user_of(account))
        gate = None if dry_run else self.fence
        return await kube.delete(
            resource, ref.namespace, ref.name, uid=uid, dry_run=dry_run, timeout=timeout, gate=gate
        )

    async def live(self, ref: Ref, resource: Resource, account: str) -> Object | None:
        """The object as it is."""
        return await self._kube.acting_as(user_of(account)).get(resource, ref.namespace, ref.name)

    async def account_exists(self, account: str) -> bool | None:
        """Whether a service account exists, as Vessel's own user; None when that may not be read."""
        namespace, _, name = account.partition("/")
        try:
            return await self._kube.get(ACCOUNTS, namespace, name) is not None
        except KubeRejected:
            return None


def problems_of(item: Item, error: KubeRejected) -> list[Problem]:
    """What the server said of an item, one problem for each field it named."""
    causes = [c for c in error.problem.causes if c.strip(": ")]
    if not causes:
        return [item.problem(error.cause)]
    return [item.problem(text, path) for path, _, text in (cause.partition(": ") for cause in causes)]


def lacks_dry_run(error: KubeRejected) -> bool:
    """True when an admission webhook cannot be asked without side effects (apiserver, `NewBadRequest`)."""
    return error.status == 400 and "does not support dry run" in str(error)


def raise_unexpected(results: Iterable[Any]) -> None:
    """Raises the first exception among results that is no KubeRejected."""
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, KubeRejected):
            raise result
