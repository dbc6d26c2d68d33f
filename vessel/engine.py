"""The shell around a pass: waits until it leads, carries out what target.py chooses, repairs in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
from structlog.typing import FilteringBoundLogger

from agents.contracts.messages import Phase, Problem
from agents.core.backoff import Backoff
from agents.core.errors import Rejected, Retryable
from agents.core.ports import Clock
from agents.io.state import StateFile
from agents.supervise.pulse import Pulse
from vessel.deploy import Deployer, Outcome
from vessel.elector import Elector, LostLease
from vessel.git.clone import CloneBounds
from vessel.git.faults import AtlasAway
from vessel.inventory_store import InventoryStore, Overtaken, Standing
from vessel.keeper import Keeper, Send
from vessel.mirror import Mirror
from vessel.model import Atlas, AtlasRefused, Commit, describe
from vessel.prepare import ClusterRefused, Prepared, Preparer
from vessel.prepull import Prepull
from vessel.reports import WHOLE, Tally, report, whole_phase
from vessel.target import Facts, choose, next_look, roll_back_to

Say = Callable[[str, bool, str], None]
_FIRST_RETRY = 30.0


class Repository(Protocol):
    """The Atlas' clone, as far as it is needed here."""

    async def checkout(self, revision: str, keep: Collection[str] = ()) -> Path: ...  # noqa: D102
    async def commit(self, revision: str) -> Commit: ...  # noqa: D102


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The state file: the newest commit known, so that a start without a network knows what to keep."""

    revision: str
    subject: str = ""
    author: str = ""
    time: int = 0

    def commit(self) -> Commit:
        """As the model's value."""
        return Commit(self.revision, self.subject, self.author, self.time)


REFUSED_FILE = "refused.json"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The state file `refused.json`, for `vessel status`: the last commit refused here, and why, a line a problem."""

    revision: str
    problems: list[str]


@dataclass
class Parts:
    """What the engine is made of; built in __main__.py and in tests."""

    clock: Clock
    log: FilteringBoundLogger
    elector: Elector
    mirror: Mirror
    store: InventoryStore
    preparer: Preparer
    deployer: Deployer
    keeper: Keeper
    prepull: Prepull
    repository: Repository
    read: Callable[[Path, Commit], Awaitable[Atlas]]
    send: Send
    say: Say
    state: StateFile[Known]
    refusal: StateFile[Refusal]
    wake: asyncio.Event


class Engine:
    """One writer's life. `offer` names a new commit; `run` never ends by itself."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._commits: dict[str, Commit] = {}
        self._head = ""
        self._held = ""
        self._loaded = False
        self._refused: dict[str, float] = {}
        self._refusals: dict[str, tuple[int, list[Problem]]] = {}
        self._retry_at = float("inf")
        self._retries = Backoff(base=_FIRST_RETRY, cap=600.0)
        self._deferrals = Backoff(base=0.5, cap=30.0)
        self._checked = ""
        self._ailing: set[str] = set()
        self._restate = False
        self._troubled = False
        self._expect: Callable[[float], None] = lambda seconds: None
        self.passes = 0
        known = parts.state.load()
        if known is not None:
            self._commits[known.revision] = known.commit()
            self._head = known.revision

    @property
    def head(self) -> str:
        """The newest revision known."""
        return self._head

    @property
    def keeping(self) -> bool:
        """Whether the objects of an applied commit are kept from drifting now."""
        return bool(self._held)

    async def kept(self) -> set[str]:
        """The revisions that a writer may need, read anew: where another node's Vessel stands. Changes nothing."""
        standing = await self._p.store.read_standing()
        return {r for r in (self._head, standing.applied, standing.healthy) if r}

    def offer(self, commit: Commit) -> None:
        """A commit that is in the clone is the newest now: durable before it is acted upon."""
        if commit.revision == self._head and commit.revision in self._commits:
            return
        self._commits[commit.revision] = commit
        self._p.state.save(
            Known(revision=commit.revision, subject=commit.subject, author=commit.author, time=commit.time)
        )
        self._head = commit.revision
        self._p.wake.set()

    def restate(self) -> None:
        """Where the whole Atlas stands is to be reported again, unless a pass reports it anyway."""
        self._restate = True
        self._p.wake.set()

    async def run(self, pulse: Pulse) -> None:
        """The loop."""
        backoff = Backoff(base=0.5, cap=30.0)
        self._p.deployer.expect = self._expect = pulse.expect
        while not pulse.stopping:
            if not self._p.elector.leading:
                self._loaded = False
                await self._p.mirror.aclose()
                self._say_waits()
                await self._wait(pulse, 30.0)
                continue
            try:
                pulse.expect(CloneBounds().turn_seconds)
                pause = await self._turn()
                backoff = backoff.succeeded()
            except (LostLease, Overtaken) as error:
                self._p.log.info("no longer the writer", cause=str(error))
                self._loaded = False
                self._held = ""
                pause = 0.2
            except Retryable as error:
                backoff = backoff.failed()
                self._held = ""
                self._p.say("atlas" if isinstance(error, AtlasAway) else "kubernetes", False, str(error))
                self._p.log.warning("tries again", cause=str(error))
                await pulse.sleep(backoff.delay(random.uniform, error.retry_after))
                continue
            except Rejected as error:
                self._loaded = False
                self._p.say("kubernetes", False, str(error))
                self._p.log.error("cannot work", cause=str(error))
                pause = 30.0
            await self._wait(pulse, pause)

    def _say_waits(self) -> None:
        """Why nothing is done: another holds the lease, or nobody is known to."""
        holder = self._p.elector.holder
        if holder and holder != self._p.elector.me:
            self._p.say("atlas", True, "another node's Vessel is the writer")
        else:
            self._p.say("atlas", False, "waits for the lease")

    def _say_begins(self) -> None:
        """The first word of a new writer, before any commit was carried out: never that of the one before."""
        standing = self._p.store.standing
        well = bool(standing.applied) and standing.applied == standing.healthy and not standing.quarantined
        text = "no commit is known yet"
        if self._head or standing.applied:
            text = f"at {standing.applied[:12]}, looks again" if standing.applied else "applies the first commit"
        self._p.say("atlas", well, text)

    async def _wait(self, pulse: Pulse, seconds: float) -> None:
        if await pulse.wait(self._p.wake, min(seconds, 30.0), grace=60.0):
            self._p.wake.clear()
            await asyncio.sleep(0.02)  # what belongs together comes together

    async def _turn(self) -> float:
        """One look at everything; seconds until the next, if nothing happens."""
        if not self._loaded:
            await self._p.store.load()
            self._loaded = True
            self._held = ""
            self._say_begins()
        trouble, now = self._p.mirror.trouble, self._p.clock.monotonic()
        self._p.say("kubernetes", not trouble, trouble or "reachable")
        if self._troubled and not trouble and self._retry_at < float("inf"):
            self._retry_at = now  # what stood in the way is gone
        self._troubled = bool(trouble)
        if self._ailing and all(self._p.keeper.app_state(app).healthy for app in self._ailing):
            self._ailing.clear()
            self._retry_at = now  # became healthy after all: go on from here
        target = choose(self._facts(), now)
        if target:
            await self._pass(target)
            return 0.0
        if self._restate:
            await self._report_standing()
        if not self._held:
            return 30.0
        return min(await self._p.keeper.repair(), next_look(self._facts(), now))

    def _facts(self) -> Facts:
        standing = self._p.store.standing
        return Facts(
            head=self._head,
            applied=standing.applied,
            healthy=standing.healthy,
            quarantined=standing.quarantined,
            held=self._held,
            refused=self._refused,
            retry_at=self._retry_at,
        )

    async def _pass(self, revision: str) -> None:
        self.passes += 1
        started = self._p.clock.monotonic()
        standing = self._p.store.standing
        commit = self._commits.get(revision) or await self._p.repository.commit(revision)
        self._commits = {revision: commit, **{r: c for r, c in self._commits.items() if r == self._head}}
        try:
            prepared = await self._prepare(commit, standing)
        except AtlasRefused as error:
            await self._refuse(commit, error)
            return
        except Retryable as error:
            if revision == standing.applied or not standing.applied:
                raise
            self._defer(revision, error)
            return
        newest = self._head
        if not await self._p.prepull.before(prepared, lambda: self._head != newest, self._meanwhile):
            return
        self._forgive(revision)
        self._retry_at = float("inf")
        self._held = ""
        outcome = await self._p.deployer.carry_out(prepared, lambda: self._head != newest)
        if outcome.superseded:
            self._p.log.info("superseded", revision=revision, by=self._head)
            return
        self._held = revision
        await self._conclude(prepared, outcome, self._p.clock.monotonic() - started)

    async def _meanwhile(self) -> None:
        """While the nodes pull images: signs of life, and what is applied is kept from drifting."""
        self._expect(60.0)
        if self._held:
            await self._p.keeper.repair()

    async def _prepare(self, commit: Commit, standing: Standing) -> Prepared:
        self._p.log.info("checking", revision=commit.revision, subject=commit.subject)
        keep = {r for r in (self._head, standing.applied, standing.healthy) if r}
        atlas = await self._p.read(await self._p.repository.checkout(commit.revision, keep), commit)
        if commit.revision not in (standing.applied, standing.healthy, self._checked, *self._refusals):
            self._checked = commit.revision
            await self._p.send(report(WHOLE, "", commit, Phase.CHECKING, Tally()))
        again = commit.revision in (standing.applied, standing.healthy)
        prepared = await self._p.preparer.prepare(atlas, self._p.store.inventories, again=again)
        prepared.quiet = (
            not (prepared.changes or prepared.barred) and commit.revision == standing.applied == standing.healthy
        )
        return prepared

    async def _report_standing(self) -> None:
        standing, refusal = self._p.store.standing, self._refusals.get(self._head)
        revision = self._head if refusal else standing.applied
        if not revision or not (refusal or self._held):
            return
        commit = self._commits.get(revision) or await self._p.repository.commit(revision)
        phase, problems = Phase.REFUSED, refusal[1] if refusal else []
        if not refusal:
            phase = whole_phase((app.phase for app in standing.apps.values()), standing.applied == standing.healthy)
            problems = [Problem(cause=text) for app in standing.apps.values() for text in app.problems]
        total = sum(app.total for app in standing.apps.values())
        await self._p.send(report(WHOLE, "", commit, phase, Tally(total=total, unchanged=total), problems))
        self._restate = False

    async def _refuse(self, commit: Commit, error: AtlasRefused) -> None:
        revision = commit.revision
        tries, before = self._refusals.get(revision, (0, []))
        again = float("inf")
        if isinstance(error, ClusterRefused):
            again = self._p.clock.monotonic() + min(600.0, _FIRST_RETRY * 2**tries)
        self._refused[revision] = again
        self._refusals[revision] = (tries + 1, error.problems)
        self._p.say("atlas", False, f"{revision[:12]} refused: {error}"[:500])
        if error.problems != before:
            for problem in error.problems[:50]:
                self._p.log.warning("refused", revision=revision, problem=describe(problem))
            words = [describe(problem)[:500] for problem in error.problems[:20]]
            self._p.refusal.save(Refusal(revision=revision, problems=words))
            await self._p.send(report(WHOLE, "", commit, Phase.REFUSED, Tally(), error.problems))
            self._restate = False

    def _defer(self, revision: str, error: Retryable) -> None:
        """A commit that cannot be checked now waits; what was applied before is kept from drifting meanwhile."""
        self._deferrals = self._deferrals.failed()
        pause = self._deferrals.delay(random.uniform, error.retry_after)
        self._refused[revision] = self._p.clock.monotonic() + pause
        self._p.say("atlas", False, f"{revision[:12]} cannot be checked yet: {error}"[:500])
        self._p.log.warning("tries again", revision=revision, seconds=round(pause, 1), cause=str(error))

    def _forgive(self, revision: str) -> None:
        self._deferrals = self._deferrals.succeeded()
        self._refused.pop(revision, None)
        self._refusals.pop(revision, None)

    async def _conclude(self, prepared: Prepared, outcome: Outcome, seconds: float) -> None:
        """Decides what a finished pass means, and says it."""
        if outcome.healthy:
            await self._succeeded(prepared, outcome, seconds)
        else:
            await self._failed(prepared, outcome, seconds)
        self._restate = self._restate and prepared.quiet

    async def _succeeded(self, prepared: Prepared, outcome: Outcome, seconds: float) -> None:
        """Every app became healthy. What may not be deleted is tried again: no reason to go back."""
        p, revision, standing = self._p, prepared.atlas.commit.revision, self._p.store.standing
        quarantined = standing.quarantined if self._head == standing.quarantined else ""
        reason = standing.reason if quarantined else ""
        await p.store.save_standing(
            Standing(
                applied=revision,
                healthy=revision,
                quarantined=quarantined,
                reason=reason,
                apps=p.deployer.standings(prepared, outcome),
            )
        )
        left = [problem for found in outcome.undeleted.values() for problem in found]
        phase = Phase.PRUNE_HELD if any(d.wait for d in prepared.prunes.values()) else Phase.HEALTHY
        text = f"at {revision[:12]}" + (f"; {quarantined[:12]} is quarantined: {reason}" if quarantined else "")
        if left:
            phase = Phase.PARTIAL
            text += "; " + "; ".join(describe(problem) for problem in left[:3])[:500]
            self._retries = self._retries.failed()
            self._retry_at = p.clock.monotonic() + self._retries.delay(random.uniform)
        else:
            self._retries = self._retries.succeeded()
        await p.deployer.tell_whole(prepared, phase, outcome, left, seconds)
        p.say("atlas", not quarantined and not left, text)
        p.log.info("applied", phase=phase.value, revision=revision, seconds=round(seconds, 3))

    async def _failed(self, prepared: Prepared, outcome: Outcome, seconds: float) -> None:
        """Back to the last healthy commit, where there is another; else tries this one again later."""
        p, commit, standing = self._p, prepared.atlas.commit, self._p.store.standing
        problems = [problem for found in outcome.failed.values() for problem in found]
        back = "" if prepared.quiet else roll_back_to(commit.revision, standing.healthy)
        cause = "; ".join(describe(problem) for problem in problems[:3])[:500]
        await p.store.save_standing(
            Standing(
                applied=commit.revision,
                healthy=standing.healthy,
                quarantined=commit.revision if back else standing.quarantined,
                reason=cause if back else standing.reason,
                apps=p.deployer.standings(prepared, outcome),
            )
        )
        if back:
            text = f"rolled back to {back}; {commit.revision} is quarantined until a newer commit comes"
            problems.insert(0, Problem(cause=text))
        else:
            self._retries = self._retries.failed()
            self._retry_at = p.clock.monotonic() + self._retries.delay(random.uniform)
            self._ailing = {app for app, phase in outcome.phases.items() if phase is Phase.DEGRADED}
        phase = whole_phase(outcome.phases.values(), False)
        await p.deployer.tell_whole(prepared, phase, outcome, problems, seconds)
        p.say("atlas", False, f"{commit.revision[:12]}: {cause}")
        p.log.warning("not healthy", cause=cause, back=back, revision=commit.revision, seconds=round(seconds, 3))
