"""Touches the API server: lists and watches what is ours, and keeps a few facts of each object (never its content).

A subscription never gives up: whatever the server says, it is asked again. An API server that has just started
answers 403 until it has read its roles, and 404 for kinds of definitions that it has not read yet.

One subscription per (account, kind), over all namespaces and selected by the app label, or, where the account may
not read all namespaces, one per namespace. The same open watches serve planning, waiting for health, and drift.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.core.backoff import Backoff
from agents.core.errors import GalleyError, Retryable
from agents.core.ports import Clock, Object
from agents.io.kube import Gone, Kube, KubeRejected, Resource
from vessel.fields import last_other_manager, owned_digest
from vessel.health import health
from vessel.inventory import Key
from vessel.objects import APP_LABEL, Item
from vessel.plan import Observed

Log = Callable[..., Any]
Triple = tuple[str, Resource, str]
"""Account, kind and namespace."""
_WATCH_SECONDS = 600


def observe(live: Mapping[str, Any]) -> Observed:
    """The facts of a live object that decisions need."""
    meta = live.get("metadata") or {}
    return Observed(
        uid=meta.get("uid", ""),
        resource_version=meta.get("resourceVersion", ""),
        fields=owned_digest(live),
        health=health(live),
        label=(meta.get("labels") or {}).get(APP_LABEL, ""),
        deleting="deletionTimestamp" in meta,
    )


def key_of(resource: Resource, live: Mapping[str, Any]) -> Key:
    """The identity of a live object."""
    meta = live.get("metadata") or {}
    return (resource.group, resource.kind, meta.get("namespace", ""), meta.get("name", ""))


@dataclass(eq=False)
class Subscription:
    """One collection, followed. `synced` once listed; `error` while it cannot be."""

    account: str
    resource: Resource
    namespace: str
    objects: dict[Key, Observed] = field(default_factory=dict)
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    error: GalleyError | None = None
    bug: Exception | None = None
    task: asyncio.Task[None] | None = None


class Mirror:
    """All subscriptions. `changed` is set whenever an object is no longer as it was."""

    def __init__(
        self, kube: Kube, clock: Clock, jitter: Callable[[float, float], float], changed: asyncio.Event
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._jitter = jitter
        self._subscriptions: dict[tuple[str, str, str, str], Subscription] = {}
        self._split: set[tuple[str, str, str]] = set()
        self.changed = changed
        self.others: dict[Key, str] = {}

    async def follow(self, wanted: Iterable[Triple]) -> dict[Triple, KubeRejected]:
        """Follows (account, kind, namespace) triples; returns when all are listed. Stops following what is not named.

        What cannot be followed yet is asked for at once, and later again.

        Answers which of them the server refuses to list, and why. Raises Retryable.
        """
        triples = set(wanted)
        needed = {self._slot(account, resource, namespace) for account, resource, namespace in triples}
        for slot in [slot for slot in self._subscriptions if slot not in needed]:
            self._stop(self._subscriptions.pop(slot))
        fresh = []
        for account, resource, namespace in triples:
            slot = self._slot(account, resource, namespace)
            if slot not in self._subscriptions:
                subscription = Subscription(account, resource, slot[3])
                self._subscriptions[slot] = subscription
                fresh.append(subscription)
        for subscription in fresh:
            subscription.task = asyncio.create_task(
                self._run(subscription), name=f"watch {subscription.resource.plural}"
            )
        ailing = [s for s in self._subscriptions.values() if s.error is not None and s not in fresh]
        for subscription in ailing:
            subscription.synced.clear()
            self._restart(subscription)
        await asyncio.gather(*(s.synced.wait() for s in [*fresh, *ailing]))
        self._raise_bugs()
        return await self._settle(triples)

    async def _settle(self, triples: set[Triple]) -> dict[Triple, KubeRejected]:
        """Falls back to single namespaces where all namespaces are forbidden; what else is refused."""
        narrowed = False
        for subscription in self._subscriptions.values():
            error = subscription.error
            if isinstance(error, Retryable):
                raise error
            forbidden = isinstance(error, KubeRejected) and error.status == 403
            if forbidden and subscription.resource.namespaced and not subscription.namespace:
                self._split.add((subscription.account, subscription.resource.group, subscription.resource.plural))
                narrowed = True
        if narrowed:
            return await self.follow(triples)
        errors = {triple: self._subscriptions[self._slot(*triple)].error for triple in triples}
        return {triple: error for triple, error in errors.items() if isinstance(error, KubeRejected)}

    def _slot(self, account: str, resource: Resource, namespace: str) -> tuple[str, str, str, str]:
        split = (account, resource.group, resource.plural) in self._split
        return (account, resource.api_version, resource.plural, namespace if split else "")

    def see(self, item: Item, resource: Resource) -> Observed | None:
        """What is known of an item's live object; None: it is not there (or not ours)."""
        return self.look(item.account, resource, item.key)

    def look(self, account: str, resource: Resource, key: Key) -> Observed | None:
        """The same by account, kind and key."""
        self._raise_bugs()
        subscription = self._subscriptions.get(self._slot(account, resource, key[2]))
        return subscription.objects.get(key) if subscription else None

    def refuses(self, account: str, resource: Resource, namespace: str) -> bool:
        """True when the server refuses to list what this would be found in."""
        subscription = self._subscriptions.get(self._slot(account, resource, namespace))
        return subscription is not None and isinstance(subscription.error, KubeRejected)

    def put(self, account: str, resource: Resource, live: Object) -> Observed:
        """Takes over an object from an answer to our own write, which may come before its event."""
        observed = observe(live)
        subscription = self._subscriptions.get(
            self._slot(account, resource, (live.get("metadata") or {}).get("namespace", ""))
        )
        if subscription is not None and not observed.deleting:
            key = key_of(resource, live)
            before = subscription.objects.get(key)
            if before is None or _newer(observed.resource_version, before.resource_version):
                subscription.objects[key] = observed
        return observed

    def forget(self, account: str, resource: Resource, key: Key) -> None:
        """Takes an object away after our own deletion of it."""
        subscription = self._subscriptions.get(self._slot(account, resource, key[2]))
        if subscription is not None:
            subscription.objects.pop(key, None)

    @property
    def open_watches(self) -> int:
        """How many subscriptions there are."""
        return len(self._subscriptions)

    @property
    def trouble(self) -> str:
        """Why a subscription is not up to date; empty when all are."""
        self._raise_bugs()
        return next((str(s.error) for s in self._subscriptions.values() if s.error is not None), "")

    async def aclose(self) -> None:
        """Ends all subscriptions."""
        tasks = [s.task for s in self._subscriptions.values() if s.task]
        for subscription in self._subscriptions.values():
            self._stop(subscription)
        self._subscriptions.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop(self, subscription: Subscription) -> None:
        if subscription.task:
            subscription.task.cancel()

    def _restart(self, subscription: Subscription) -> None:
        self._stop(subscription)
        subscription.task = asyncio.create_task(self._run(subscription))

    def _raise_bugs(self) -> None:
        """A subscription that ended by a bug ends its user, and so the process: nobody else awaits its task."""
        for subscription in self._subscriptions.values():
            if subscription.bug is not None:
                raise subscription.bug

    async def _run(self, subscription: Subscription) -> None:
        try:
            await self._keep_following(subscription)
        except Exception as error:  # noqa: BLE001 - kept for whoever looks next, where it ends the daemon
            subscription.bug = error
            subscription.synced.set()
            self.changed.set()

    async def _keep_following(self, subscription: Subscription) -> None:
        backoff = Backoff(base=0.2, cap=30.0)
        version = ""
        while True:
            began = self._clock.monotonic()
            try:
                if not version:
                    version = await self._list(subscription)
                version = await self._watch(subscription, version)
                backoff = backoff.succeeded()
            except Gone:
                version = ""
            except (KubeRejected, Retryable) as error:
                version = ""  # a list tells at once that it works again; a watch only with its first event
                subscription.error = error
                subscription.synced.set()
                self.changed.set()
                if self._clock.monotonic() - began > backoff.cap:
                    backoff = backoff.succeeded()  # it worked for a while
                backoff = backoff.failed()
                await self._clock.sleep(backoff.delay(self._jitter, getattr(error, "retry_after", None)))

    async def _list(self, subscription: Subscription) -> str:
        kube = self._kube.acting_as(user_of(subscription.account))
        listed = await kube.list(subscription.resource, subscription.namespace, selector=APP_LABEL)
        before, found = subscription.objects, {}
        for live in listed.items:
            key = key_of(subscription.resource, live)
            found[key] = observe(live)
            if key in before and _differs(before[key], found[key]):
                self.others[key] = last_other_manager(live)
        if found != before:
            subscription.objects = found
            self.changed.set()
        self._up(subscription)
        return listed.resource_version

    async def _watch(self, subscription: Subscription, version: str) -> str:
        kube = self._kube.acting_as(user_of(subscription.account))
        resource = subscription.resource
        events = kube.watch(
            resource, subscription.namespace, resource_version=version, selector=APP_LABEL, seconds=_WATCH_SECONDS
        )
        async for event in events:
            self._up(subscription)
            live = event.object
            version = live["metadata"]["resourceVersion"]
            if event.type == "BOOKMARK":
                continue
            live.setdefault("apiVersion", resource.api_version)
            live.setdefault("kind", resource.kind)
            self._take(subscription, event.type, key_of(resource, live), live)
        return version

    def _take(self, subscription: Subscription, type_: str, key: Key, live: Object) -> None:
        before = subscription.objects.get(key)
        if type_ == "DELETED":
            if before is not None and not _newer(before.resource_version, live["metadata"]["resourceVersion"]):
                del subscription.objects[key]
                self.changed.set()
            return
        observed = observe(live)
        if before is not None and _newer(before.resource_version, observed.resource_version):
            return  # an event of before our own write, whose answer we already have
        subscription.objects[key] = observed
        if before is None or _differs(before, observed):
            self.others[key] = last_other_manager(live)
            self.changed.set()

    def _up(self, subscription: Subscription) -> None:
        if subscription.error is not None:
            subscription.error = None
            self.changed.set()  # what was held back by it may go on
        subscription.synced.set()


def user_of(account: str) -> str:
    """The user name of a service account given as `namespace/name`."""
    return "system:serviceaccount:" + account.replace("/", ":", 1)


def _differs(a: Observed, b: Observed) -> bool:
    return (a.uid, a.fields, a.health, a.deleting, a.label) != (b.uid, b.fields, b.health, b.deleting, b.label)


def _newer(a: str, b: str) -> bool:
    """Compares resource versions, which are comparable numbers since KEP-5504; unknown counts as not newer."""
    return a.isdigit() and b.isdigit() and int(a) > int(b)
