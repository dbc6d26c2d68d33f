"""Carries out a prepared commit: inventory ahead, stages, waves, waiting, deletions, inventory again, reports.

Killed at any point the next pass converges: the inventory names every object before it is made, and until it is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from agents.contracts.messages import Phase, Problem
from agents.core.ports import Clock
from agents.io.kube import KubeRejected
from vessel.fields import owned_digest
from vessel.inventory import AppMeta, Inventory, app_digest
from vessel.inventory_store import AppStanding, InventoryStore
from vessel.keeper import Keeper, Send, write_ahead
from vessel.mirror import Mirror
from vessel.model import Ref
from vessel.objects import APP_LABEL
from vessel.order import Wave, is_definition, wave
from vessel.plan import Action, Step, moved
from vessel.prepare import Prepared, Preparer, account_of
from vessel.reports import WHOLE, Tally, report, summed, tally
from vessel.writer import Writer, bounded, problems_of, raise_unexpected

_DEFINITION_SECONDS = 60.0


@dataclass
class Outcome:
    """What came of a pass. `failed`: apps that stopped or did not become healthy, with why; `undeleted`: apps of which
    something that left the Atlas may not be deleted, or that may not be kept now: tried again, no reason to go back."""

    superseded: bool = False
    failed: dict[str, list[Problem]] = field(default_factory=dict)
    undeleted: dict[str, list[Problem]] = field(default_factory=dict)
    phases: dict[str, Phase] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """True when every app of the commit became healthy."""
        return not self.failed and not self.superseded


class Deployer:
    """Executes. All decisions were made in prepare.py; here is only order, waiting and bookkeeping.

    `expect` is told in how many seconds it will say so again: the loop's sign of life while it waits.
    """

    def __init__(
        self,
        *,
        preparer: Preparer,
        mirror: Mirror,
        store: InventoryStore,
        writer: Writer,
        keeper: Keeper,
        clock: Clock,
        send: Send,
        wake: asyncio.Event,
    ) -> None:
        self.expect: Callable[[float], None] = lambda seconds: None
        self._preparer = preparer
        self._mirror = mirror
        self._store = store
        self._writer = writer
        self._keeper = keeper
        self._clock = clock
        self._send = send
        self._wake = wake

    async def carry_out(self, prepared: Prepared, superseded: Callable[[], bool]) -> Outcome:
        """Applies, waits, prunes, reports. Raises Retryable (LostLease among them) when it must be begun anew."""
        outcome = Outcome(tallies={app: tally(steps) for app, steps in prepared.steps.items()})
        self._keeper.begin(prepared.atlas)
        for steps in prepared.steps.values():  # what is there already is kept from the first moment on
            for step in steps:
                resource = self._preparer.resource_of(step.item)
                if resource is not None and step.action is Action.KEEP:
                    self._keeper.hold(step.item, resource)
        await self._write_ahead(prepared)
        await self._tell_barred(prepared, outcome)
        working = [app for app in prepared.steps if app not in prepared.barred]
        for stage in sorted({prepared.specs[app].stage for app in working}):
            apps = [app for app in working if prepared.specs[app].stage == stage]
            await self._apply_stage(prepared, apps, outcome)
            await self._wait(prepared, apps, outcome, superseded)
            if outcome.superseded:
                break
            if outcome.failed:
                self._skip(prepared, [a for a in working if prepared.specs[a].stage > stage], outcome)
                break
        if not outcome.superseded and not outcome.failed:
            await self._prune(prepared, outcome)
        await self._store.save_all()
        await self._report_held(prepared, outcome)
        return outcome

    async def _tell_barred(self, prepared: Prepared, outcome: Outcome) -> None:
        for app, problems in prepared.barred.items():
            outcome.undeleted[app] = list(problems)
            outcome.phases[app] = Phase.PARTIAL
            await self._tell(prepared, app, Phase.PARTIAL, outcome, problems)

    async def _write_ahead(self, prepared: Prepared) -> None:
        for app, steps in prepared.steps.items():
            inventory = self._store.inventories.setdefault(app, Inventory(app=app))
            spec = prepared.specs[app]
            decision = prepared.prunes.get(app)
            inventory.meta = msgspec.structs.replace(
                inventory.meta,
                owner=spec.owner,
                account=spec.service_account,
                held_revision=decision.held.revision if decision else "",
                held_digest=decision.held.digest if decision else "",
            )
            for step in steps:
                write_ahead(self._store, step.item)
        for app, decision in prepared.prunes.items():
            if app not in prepared.steps:
                self._store.inventories[app].meta = msgspec.structs.replace(
                    self._store.inventories[app].meta,
                    held_revision=decision.held.revision,
                    held_digest=decision.held.digest,
                )
        await self._store.save_all()
        # Only now may the former owners' entries go: the new owners' are written.
        for app, keys in moved(self._store.inventories, prepared.items()).items():
            for key in keys:
                del self._store.inventories[app].entries[key]

    async def _apply_stage(self, prepared: Prepared, apps: Iterable[str], outcome: Outcome) -> None:
        started = self._clock.monotonic()
        working = [app for app in apps if any(s.action is not Action.KEEP for s in prepared.steps[app])]
        # At once: the outbox makes them durable together.
        await asyncio.gather(*(self._tell(prepared, app, Phase.APPLYING, outcome) for app in working))
        for current in Wave:
            if current is Wave.CONFIGURATION:
                await self._recheck(prepared, working, outcome)
            steps = [
                step
                for app in working
                if app not in outcome.failed
                for step in prepared.steps[app]
                if step.action is not Action.KEEP and wave(step.item.ref) is current
            ]
            await self._apply(steps, outcome)
            if current is Wave.DEFINITIONS and steps:
                await self._establish(prepared, steps, outcome)
        for app in working:
            outcome.tallies[app].durations["apply"] = self._clock.monotonic() - started

    async def _apply(self, steps: list[Step], outcome: Outcome) -> None:
        sendable = [(s.item, resource) for s in steps if (resource := self._preparer.resource_of(s.item))]
        for step in steps:
            if self._preparer.resource_of(step.item) is None:
                self._fail(
                    outcome, step.item.app, [step.item.problem("its kind is not served, although it was defined")]
                )
        results = await bounded(
            self._writer.limit,
            [lambda i=i, r=r: self._writer.apply(i, r) for i, r in sendable],  # type: ignore[misc]
        )
        for (item, resource), result in zip(sendable, results, strict=True):
            if isinstance(result, KubeRejected):
                self._fail(outcome, item.app, problems_of(item, result))
            elif not isinstance(result, BaseException):
                self._keeper.record(item, resource, result)
        raise_unexpected(results)

    def _fail(self, outcome: Outcome, app: str, problems: list[Problem]) -> None:
        outcome.failed.setdefault(app, []).extend(problems)
        outcome.phases[app] = Phase.PARTIAL

    async def _establish(self, prepared: Prepared, steps: list[Step], outcome: Outcome) -> None:
        """Waits for definitions, then learns what is served now and follows it."""
        deadline = self._clock.monotonic() + _DEFINITION_SECONDS
        waiting = {s.item.key: s.item for s in steps if s.item.app not in outcome.failed and is_definition(s.item.ref)}
        while waiting:
            for key, item in list(waiting.items()):
                resource = self._preparer.resource_of(item)
                seen = self._mirror.see(item, resource) if resource else None
                if seen is not None and seen.health.done:
                    del waiting[key]
            left = deadline - self._clock.monotonic()
            if not waiting or left <= 0:
                break
            await self._sleep(left)
        for item in waiting.values():
            self._fail(outcome, item.app, [item.problem("was not established in time")])
        await self._preparer.rediscover()
        refused = await self._preparer.follow(prepared.items(), self._store.inventories, prepared.specs)
        for app, problems in refused.items():
            if app not in prepared.barred:
                self._fail(outcome, app, problems)

    async def _recheck(self, prepared: Prepared, apps: Iterable[str], outcome: Outcome) -> None:
        """Dry-runs, now that it can, what could not be judged in its place before the first write."""
        items = [
            (step.item, resource, False)
            for app in apps
            if app not in outcome.failed
            for step in prepared.steps[app]
            if step.item.key in prepared.recheck and (resource := self._preparer.resource_of(step.item))
        ]
        if not items:
            return
        for app in {item.app for item, _, _ in items}:
            problems = await self._preparer.ask([entry for entry in items if entry[0].app == app])
            if problems:
                self._fail(outcome, app, problems)

    async def _wait(
        self, prepared: Prepared, apps: list[str], outcome: Outcome, superseded: Callable[[], bool]
    ) -> None:
        """Until each app of the stage is healthy, failed, out of time, or a newer commit is there."""
        started = self._clock.monotonic()
        digests = {app: app_digest(s.item.digest for s in prepared.steps[app]) for app in apps}
        waiting = []
        for app in apps:
            if app in outcome.failed:
                await self._tell(prepared, app, Phase.PARTIAL, outcome, outcome.failed[app])
            elif self._unchanged(prepared, app, digests[app]):
                await self._settled(
                    prepared, app, outcome, digests[app]
                )  # its health has nothing to do with this commit
            else:
                waiting.append(app)
        told: set[str] = set()
        while waiting:
            self._writer.fence()
            held = await self._keeper.repair()
            spent = self._clock.monotonic() - started
            waiting = [app for app in waiting if await self._still_waits(prepared, app, outcome, digests[app], spent)]
            news = [app for app in waiting if app not in told]
            told.update(news)
            await asyncio.gather(*(self._tell(prepared, app, Phase.WAITING, outcome) for app in news))
            if waiting and superseded():
                outcome.superseded = True
                return
            if waiting:
                ends = min(prepared.specs[app].timeout_seconds for app in waiting) - spent
                await self._sleep(min(held, ends))

    def _unchanged(self, prepared: Prepared, app: str, digest: str) -> bool:
        kept = all(step.action is Action.KEEP for step in prepared.steps[app])
        return kept and self._store.inventories[app].meta.healthy == digest

    async def _still_waits(self, prepared: Prepared, app: str, outcome: Outcome, digest: str, spent: float) -> bool:
        """False once the app is healthy, failed or out of time, which is reported."""
        state = self._keeper.app_state(app)
        timeout = prepared.specs[app].timeout_seconds
        outcome.tallies[app].healthy = state.done
        outcome.tallies[app].durations["wait"] = spent
        if state.healthy:
            await self._settled(prepared, app, outcome, digest)
            return False
        if not state.failed and spent < timeout:
            return True
        problems = state.problems()
        if not state.failed:
            problems.insert(0, Problem(cause=f"not healthy within {timeout:g} s"))
        outcome.failed[app] = problems
        outcome.phases[app] = Phase.DEGRADED
        await self._tell(prepared, app, Phase.DEGRADED, outcome, problems)
        return False

    async def _sleep(self, seconds: float) -> None:
        """Until something was seen to change, at most so long; then a moment more, for what comes with it."""
        self.expect(60)
        try:
            await asyncio.wait_for(self._wake.wait(), min(15.0, max(0.01, seconds)))
        except TimeoutError:
            return
        self._wake.clear()
        await self._clock.sleep(0.02)

    async def _settled(self, prepared: Prepared, app: str, outcome: Outcome, digest: str) -> None:
        state = self._keeper.app_state(app)
        outcome.tallies[app].healthy = state.done
        inventory = self._store.inventories[app]
        inventory.meta = msgspec.structs.replace(inventory.meta, healthy=digest)
        outcome.phases[app] = Phase.HEALTHY if state.healthy else Phase.DEGRADED
        if prepared.again and app in prepared.prunes and prepared.prunes[app].delete:
            return  # deletions that failed before are tried again: their outcome is the app's
        await self._tell(prepared, app, outcome.phases[app], outcome, state.problems())

    def _skip(self, prepared: Prepared, apps: Iterable[str], outcome: Outcome) -> None:
        for app in apps:
            outcome.phases[app] = Phase.REFUSED
            outcome.tallies[app] = Tally(total=len(prepared.steps[app]))

    async def _prune(self, prepared: Prepared, outcome: Outcome) -> None:
        """Deletes what left, later waves and stages first; what is no longer ours only leaves the inventory."""
        started = self._clock.monotonic()
        todo = [(app, ref) for app, decision in prepared.prunes.items() for ref in decision.delete]
        stage = {app: spec.stage for app, spec in prepared.specs.items()}
        for level in sorted({(stage.get(app, 0), wave(ref)) for app, ref in todo}, reverse=True):
            chosen = [(app, ref) for app, ref in todo if (stage.get(app, 0), wave(ref)) == level]
            results = await bounded(
                self._writer.limit,
                [lambda a=a, r=r: self._delete(prepared, a, r) for a, r in chosen],  # type: ignore[misc]
            )
            for (app, ref), result in zip(chosen, results, strict=True):
                counted = outcome.tallies.setdefault(app, Tally())
                if isinstance(result, KubeRejected):
                    problem = Problem(cause=f"may not be deleted: {result.cause}"[:4000], object=str(ref))
                    outcome.undeleted.setdefault(app, []).append(problem)
                    outcome.phases[app] = Phase.PARTIAL
                elif not isinstance(result, BaseException):
                    counted.pruned += result
                    del self._store.inventories[app].entries[ref.key]
            raise_unexpected(results)
        if todo:
            for app in {app for app, _ in todo}:
                outcome.tallies[app].durations["prune"] = self._clock.monotonic() - started
                left = outcome.undeleted.get(app, ())
                await self._tell(prepared, app, outcome.phases.get(app, Phase.HEALTHY), outcome, left)
        for app, inventory in self._store.inventories.items():
            if app not in prepared.steps and not inventory.entries:
                inventory.meta = AppMeta()

    async def _delete(self, prepared: Prepared, app: str, ref: Ref) -> int:
        resource = await self._preparer.served_now(ref)
        if resource is None:
            return 0  # its definition is gone, and it with it
        account = account_of(app, self._store.inventories[app], prepared.specs)
        live = await self._writer.live(ref, resource, account)
        if live is None:
            return 0
        ours = owned_digest(live) or (live["metadata"].get("labels") or {}).get(APP_LABEL)
        if not ours:
            return 0
        deleted = await self._writer.delete(ref, resource, account, uid=live["metadata"]["uid"])
        return int(deleted)

    async def _report_held(self, prepared: Prepared, outcome: Outcome) -> None:
        for app, decision in prepared.prunes.items():
            if not decision.wait or outcome.superseded or app in outcome.failed:
                continue
            word = f"to allow it, set approve: {{prune: {decision.held.revision}}} in the app's app.yaml"
            problems = [Problem(cause=f"{reason}; {word}") for reason in decision.reasons]
            problems += [Problem(cause="waits to be deleted", object=str(ref)) for ref in decision.wait]
            outcome.phases[app] = Phase.PARTIAL if app in outcome.undeleted else Phase.PRUNE_HELD
            outcome.tallies.setdefault(app, Tally())
            problems = [*outcome.undeleted.get(app, ()), *problems]
            await self._tell(prepared, app, outcome.phases[app], outcome, problems)

    async def _tell(
        self, prepared: Prepared, app: str, phase: Phase, outcome: Outcome, problems: Iterable[Problem] = ()
    ) -> None:
        if prepared.quiet:
            return
        spec = prepared.specs.get(app)
        owner = spec.owner if spec else self._store.inventories[app].meta.owner
        await self._send(report(app, owner, prepared.atlas.commit, phase, outcome.tallies[app], problems))

    def standings(self, prepared: Prepared, outcome: Outcome) -> dict[str, AppStanding]:
        """How the apps stand after a pass."""
        revision = prepared.atlas.commit.revision
        result = {}
        for app, phase in outcome.phases.items():
            spec = prepared.specs.get(app)
            result[app] = AppStanding(
                owner=spec.owner if spec else "",
                phase=phase.value,
                revision=revision,
                total=outcome.tallies[app].total,
                problems=[p.cause[:300] for p in (outcome.failed | outcome.undeleted).get(app, ())][:10],
            )
        return result

    async def tell_whole(
        self, prepared: Prepared, phase: Phase, outcome: Outcome, problems: Iterable[Problem], seconds: float
    ) -> None:
        """Reports on the Atlas as a whole."""
        counted = summed(outcome.tallies.values(), {"total": seconds})
        if not prepared.quiet:
            await self._send(report(WHOLE, "", prepared.atlas.commit, phase, counted, problems))
