"""Keeps what is applied as it was applied: compares what the watches saw with the inventory, and repairs.

Also answers whether an app is done. Used while a pass waits, and between passes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from agents.contracts.messages import Deployment, Phase, Problem
from agents.core.ports import Clock, Object
from agents.io.kube import KubeRejected, Resource
from vessel.fights import Fights
from vessel.health import Health, State
from vessel.inventory import Entry, entry_of
from vessel.inventory_store import InventoryStore
from vessel.mirror import Mirror
from vessel.model import AppSpec, Atlas, Commit
from vessel.objects import Item
from vessel.plan import Action, Observed, decide
from vessel.reports import Tally, report
from vessel.writer import Writer, bounded, problems_of, raise_unexpected

Send = Callable[[Deployment], Awaitable[None]]


@dataclass
class AppState:
    """How an app's objects stand now. `waiting`: those not done, with why; `failed`: those that never will be."""

    total: int = 0
    done: int = 0
    waiting: list[tuple[Item, Health]] = field(default_factory=list)
    failed: list[tuple[Item, Health]] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """True when nothing is left to wait for."""
        return self.done == self.total

    def problems(self) -> list[Problem]:
        """What is not done, as problems."""
        return [item.problem(health.reason) for item, health in [*self.failed, *self.waiting]]


class Keeper:
    """Holds the applied items, and repairs them."""

    def __init__(self, *, mirror: Mirror, store: InventoryStore, writer: Writer, clock: Clock, send: Send) -> None:
        self._mirror = mirror
        self._store = store
        self._writer = writer
        self._clock = clock
        self._send = send
        self._fights = Fights()
        self._items: dict[str, dict[tuple[str, str, str, str], tuple[Item, Resource]]] = {}
        self._specs: Mapping[str, AppSpec] = {}
        self._commit = Commit("")
        self.repairs = 0

    def begin(self, atlas: Atlas) -> None:
        """From now on only what `hold` names is kept, in the name of this commit."""
        self._specs = {app.spec.name: app.spec for app in atlas.apps}
        self._commit = atlas.commit
        self._items = {}

    def hold(self, item: Item, resource: Resource) -> None:
        """Keeps an item, which is applied."""
        self._items.setdefault(item.app, {})[item.key] = (item, resource)

    def record(self, item: Item, resource: Resource, live: Object) -> Observed:
        """Takes the answer to our own apply as what the object is to be like."""
        observed = self._mirror.put(item.account, resource, live)
        ref = item.ref
        self._store.inventories[item.app].entries[item.key] = Entry(
            api_version=ref.api_version,
            kind=ref.kind,
            namespace=ref.namespace,
            name=ref.name,
            digest=item.digest,
            fields=observed.fields,
            uid=observed.uid,
        )
        self.hold(item, resource)
        return observed

    def app_state(self, app: str) -> AppState:
        """How an app stands, by what the watches saw last."""
        state = AppState()
        for item, resource in self._items.get(app, {}).values():
            state.total += 1
            seen = self._mirror.see(item, resource)
            entry = self._store.inventories[app].entries.get(item.key)
            if seen is None:
                if entry is not None and entry.finished:
                    state.done += 1
                else:
                    state.waiting.append((item, Health(State.PROGRESSING, "is not there")))
            elif seen.health.done:
                state.done += 1
            elif seen.health.state is State.FAILED:
                state.failed.append((item, seen.health))
            else:
                state.waiting.append((item, seen.health))
        return state

    async def repair(self) -> float:
        """Repairs everything that is not as applied; seconds until a held-back repair is due (inf: none is).

        Raises LostLease or Retryable. What the server refuses is reported and tried again later.
        """
        now = self._clock.monotonic()
        due: list[tuple[Item, Resource, Observed | None]] = []
        wait = float("inf")
        for app, items in self._items.items():
            entries = self._store.inventories[app].entries
            for item, resource in items.values():
                seen = self._mirror.see(item, resource)
                self._note_finished(item, seen, entries)
                if decide(item, entries.get(item.key), seen) is Action.KEEP or (seen is not None and seen.deleting):
                    continue
                held = self._fights.wait(item.key, now)
                if held > 0:
                    wait = min(wait, held)
                else:
                    due.append((item, resource, seen))
        if due:
            await self._repair(due)
        return wait

    def _note_finished(
        self, item: Item, seen: Observed | None, entries: dict[tuple[str, str, str, str], Entry]
    ) -> None:
        """Remembers that a Job with a TTL completed: it may vanish, and is not to be run again."""
        if (item.ref.group, item.ref.kind) != ("batch", "Job") or seen is None or not seen.health.done:
            return
        entry, spec = entries.get(item.key), item.body.get("spec")
        if entry and not entry.finished and isinstance(spec, dict) and "ttlSecondsAfterFinished" in spec:
            entries[item.key] = msgspec.structs.replace(entry, finished=True)

    async def _repair(self, due: Sequence[tuple[Item, Resource, Observed | None]]) -> None:
        results = await bounded(
            self._writer.limit,
            [lambda i=i, r=r: self._writer.apply(i, r) for i, r, _ in due],  # type: ignore[misc]
        )
        now = self._clock.monotonic()
        mended: dict[str, list[Problem]] = {}
        refused: dict[str, list[Problem]] = {}
        for (item, resource, before), result in zip(due, results, strict=True):
            if isinstance(result, KubeRejected):
                self._fights.repaired(item.key, now)
                refused.setdefault(item.app, []).extend(problems_of(item, result))
            elif not isinstance(result, BaseException):
                after = self.record(item, resource, result)
                if before is not None and before.resource_version == after.resource_version:
                    continue  # the server changed nothing: only what counts as ours is described differently now
                self.repairs += 1
                mended.setdefault(item.app, []).append(self._told(item, before, now))
        for app, problems in mended.items():
            await self._store.save(app)
            await self._tell(app, Phase.REPAIRED, problems, repaired=len(problems))
        for app, problems in refused.items():
            await self._tell(app, Phase.DEGRADED, problems)
        raise_unexpected(results)

    def _told(self, item: Item, before: Observed | None, now: float) -> Problem:
        cause = "was deleted or no longer ours" if before is None else "was changed"
        other = self._mirror.others.get(item.key, "")
        if before is not None and other:
            cause += f" (by {other})"
        if self._fights.repaired(item.key, now):
            cause += "; it keeps being changed, so repairs are held back from now on"
        return item.problem(cause)

    async def _tell(self, app: str, phase: Phase, problems: list[Problem], repaired: int = 0) -> None:
        state = self.app_state(app)
        counted = Tally(total=state.total, healthy=state.done, repaired=repaired)
        spec = self._specs.get(app)
        await self._send(report(app, spec.owner if spec else "", self._commit, phase, counted, problems))


def write_ahead(store: InventoryStore, item: Item) -> None:
    """Enters an item that is about to be created, where it is not yet."""
    entries = store.inventories[item.app].entries
    entries.setdefault(item.key, entry_of(item.ref))
