"""Touches the cluster: takes, renews and watches over the Lease `galley-system/vessel`. Decisions are in lease.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agents.core.errors import Retryable
from agents.core.ports import Clock
from agents.io.kube import Kube, KubeRejected, Resource
from vessel import lease
from vessel.lease import Seen, Terms

LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases", True)
_MARGIN = 1.0


class LostLease(Retryable):
    """This process may not write (any more)."""


class Elector:
    """Holds the lease while it can. `changed` is called when leading, the holder, or the revision it names, changes."""

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        *,
        me: str,
        namespace: str = "galley-system",
        name: str = "vessel",
        terms: Terms | None = None,
        say: Callable[[bool, str], None] = lambda ok, text: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self.me = me
        self.terms = terms or Terms()
        self._say = say
        self._seen = Seen()
        self._previous: dict[str, Any] | None = None
        self._wanted = ""
        self._wake = asyncio.Event()
        self._changed = changed

    @property
    def leading(self) -> bool:
        """True while this process may write."""
        return lease.may_write(self._seen, self.me, self._clock.monotonic(), self.terms)

    @property
    def holder(self) -> str:
        """Who holds the lease, as last seen."""
        return self._seen.record.holder if self._seen.record else ""

    @property
    def revision(self) -> str:
        """The revision that the Lease names, as last seen."""
        return self._seen.record.revision if self._seen.record else ""

    def fence(self) -> float:
        """Seconds for which a write may still be under way. Raises LostLease when none may begin."""
        if not self.leading:
            raise LostLease("another Vessel holds the lease" if self.holder != self.me else "the lease ran out")
        return max(0.5, self._seen.held_until - self._clock.monotonic() - _MARGIN)

    def announce(self, revision: str) -> None:
        """Names the revision in the Lease, at once, so that the others fetch it."""
        if revision != self._wanted:
            self._wanted = revision
            self._wake.set()

    async def run(self, expect: Callable[[float], None]) -> None:
        """Takes and renews, for ever. `expect` is told by when it will be called again."""
        was = (False, "", "")
        while True:
            expect(self.terms.retry + 30)
            await self._turn()
            if was != (now := (self.leading, self.holder, self.revision)):
                was = now
                self._changed()
            await self._pause()

    async def _turn(self) -> None:
        try:
            await self.turn()
            text = f"held by this node ({self.me})" if self.leading else f"held by {self.holder or 'nobody'}"
            self._say(True, text)
        except Retryable as error:
            self._say(False, str(error))
        except KubeRejected as error:
            self._say(False, f"lease {self._namespace}/{self._name}: {error} (has `vessel bootstrap` been run?)")

    async def _pause(self) -> None:
        wait = self.terms.retry
        if self.leading:
            left = min(self._seen.held_until, self._seen.renewed_at + self.terms.renew_deadline)
            wait = max(0.05, min(wait, left - self._clock.monotonic()))
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), wait)
        except TimeoutError:
            return

    async def turn(self) -> None:
        """One look at the lease: renew it, take it, or leave it. Raises Retryable or KubeRejected."""
        timeout = self.terms.retry + 1
        if self._previous is None or self.holder != self.me or not self.leading:
            self._previous = await self._kube.get(LEASES, self._namespace, self._name, timeout=timeout)
            self._seen = lease.observe(self._seen, lease.read(self._previous), self._clock.monotonic())
        now = self._clock.monotonic()
        if not lease.may_take(self._seen, self.me, now, self.terms):
            self._seen = lease.lost(self._seen)
            return
        body = lease.body(
            self._previous,
            namespace=self._namespace,
            name=self._name,
            me=self.me,
            wall_ms=self._clock.wall_ms(),
            terms=self.terms,
            revision=self._wanted,
        )
        try:
            if self._previous is None:
                answer = await self._kube.request("POST", LEASES.path(self._namespace), body=body, timeout=timeout)
            else:
                path = LEASES.path(self._namespace, self._name)
                answer = await self._kube.request("PUT", path, body=body, timeout=timeout)
        except KubeRejected as error:
            self._previous = None
            if error.status in (404, 409) and error.problem.reason in ("Conflict", "AlreadyExists", "NotFound"):
                if error.problem.reason == "NotFound" and "namespace" in str(error):
                    raise
                return  # somebody was faster: look again next time
            raise
        self._previous = answer
        record = lease.read(answer)
        assert record is not None
        self._seen = lease.written(record, now, self.terms)

    async def release(self) -> None:
        """Gives the lease up, so that another need not wait. Never raises."""
        if not self.leading or self._previous is None:
            return
        spec = {**self._previous["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        self._seen = lease.lost(self._seen)
        try:
            path = LEASES.path(self._namespace, self._name)
            await self._kube.request("PUT", path, body={**self._previous, "spec": spec}, timeout=2)
        except (Retryable, KubeRejected):
            return
