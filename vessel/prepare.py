"""Judges a commit before anything is written: kinds, live objects, plan, dry run of all that would be sent.

Raises AtlasRefused with every problem; nothing in the cluster was changed then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agents.contracts.messages import Problem
from agents.core.ports import ApiProblem, Object
from agents.io.kube import Discovery, Kube, KubeRejected, NotServed, Resource
from vessel import crdschema, plan, prune
from vessel.inventory import Inventory, Key
from vessel.mirror import Mirror, user_of
from vessel.model import AppSpec, Atlas, AtlasRefused, Ref
from vessel.objects import Item, Resolved, resolve
from vessel.order import Wave, wave
from vessel.plan import Action, Step
from vessel.prune import Held, PruneDecision, PrunePolicy
from vessel.writer import Writer, bounded, lacks_dry_run, problems_of, raise_unexpected

NAMESPACES = Resource("v1", "Namespace", "namespaces", False)
_NEEDED = frozenset({"get", "list", "watch", "patch", "delete"})


class ClusterRefused(AtlasRefused):
    """The commit itself can be read, but this cluster refuses it as it is now: worth another look later."""


@dataclass
class Prepared:
    """A commit that may be carried out: nothing is left to choose. `again`: it was carried out before.

    `barred`: apps that cannot be kept now as they are in the commit (their account lacks a right, say), although
    they are as they were applied: the others go on.
    """

    atlas: Atlas
    specs: dict[str, AppSpec]
    steps: dict[str, tuple[Step, ...]]
    prunes: dict[str, PruneDecision]
    recheck: frozenset[Key]
    again: bool = False
    barred: dict[str, list[Problem]] = field(default_factory=dict)
    quiet: bool = field(default=False)

    @property
    def changes(self) -> bool:
        """True when anything would be sent."""
        return any(s.action is not Action.KEEP for steps in self.steps.values() for s in steps) or any(
            decision.delete for decision in self.prunes.values()
        )

    def items(self) -> list[Item]:
        """All items."""
        return [step.item for steps in self.steps.values() for step in steps]


class Preparer:
    """Reads the cluster and judges commits against it."""

    def __init__(
        self, kube: Kube, mirror: Mirror, writer: Writer, policy: PrunePolicy, *, refuse_undryable: bool = True
    ) -> None:
        self._kube = kube
        self._mirror = mirror
        self._writer = writer
        self._policy = policy
        self._refuse_undryable = refuse_undryable
        self._discovery: Discovery | None = None

    def resource(self, ref: Ref) -> Resource | None:
        """The served resource of an object, in its version or another; None when its kind is not served."""
        assert self._discovery is not None
        return self._discovery.find(ref.api_version, ref.kind) or self._discovery.find_any(
            ref.group, ref.kind, ref.api_version.rpartition("/")[2]
        )

    def resource_of(self, item: Item) -> Resource | None:
        """The served resource of an item in its very version."""
        assert self._discovery is not None
        return self._discovery.find(item.ref.api_version, item.ref.kind)

    async def served_now(self, ref: Ref) -> Resource | None:
        """As `resource`, asked anew before the answer is None: the kind is gone, and all its objects with it.

        Raises KubeRejected while the kind is only switched off: its objects are still stored, and come back with it.
        """
        if self.resource(ref) is None:
            await self.rediscover()
        found = self.resource(ref)
        assert self._discovery is not None
        if found is None and (ref.group in self._discovery.stale or await self._defined(ref)):
            text = f"{ref.kind} of {ref.group} is not served at present: waits until it is"
            raise KubeRejected(ApiProblem(status=404, reason="NotServed", message=text))
        return found

    async def _defined(self, ref: Ref) -> bool:
        """Whether a definition of the kind is there. Read as the site's own account: an app's may not be allowed to."""
        definitions = self._discovery and self._discovery.find("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        if not definitions:
            return False
        listed = await self._kube.acting_as(user_of(AppSpec(name="").service_account)).list(definitions)
        specs = [definition.get("spec") or {} for definition in listed.items]
        return any(s.get("group") == ref.group and s.get("names", {}).get("kind") == ref.kind for s in specs)

    async def rediscover(self) -> None:
        """Asks the server anew what it serves."""
        self._discovery = await self._kube.discover(fresh=True)

    async def prepare(self, atlas: Atlas, inventories: Mapping[str, Inventory], *, again: bool = False) -> Prepared:
        """Everything up to the first write. Raises AtlasRefused, ClusterRefused or Retryable.

        `again`: the commit was carried out before, so that a deletion that is refused is no reason to refuse it.
        """
        resolved = await self._resolve(atlas)
        specs = {app.spec.name: app.spec for app in atlas.apps}
        wanted = {item.key for item in resolved.all}
        leaving = plan.leaving(inventories, wanted)
        barred = await self.follow(resolved.all, inventories, specs)
        if changed := [app for app in barred if not again and not _as_applied(resolved.items[app], inventories)]:
            raise ClusterRefused([problem for app in changed for problem in barred[app]])
        steps = {
            app: _untouched(found) if app in barred else found
            for app, items in resolved.items.items()
            for found in [plan.plan(items, inventories, self._see)]
        }
        prunes = {
            app: self._judge_prune(app, refs, inventories[app], resolved, specs, atlas.commit.revision)
            for app, refs in leaving.items()
        }
        recheck = await self._dry_run(steps, barred if again else None)
        if not again and (problems := await self._ask_deletions(prunes, inventories, specs)):
            raise ClusterRefused(problems)
        return Prepared(
            atlas=atlas, specs=specs, steps=steps, prunes=prunes, recheck=recheck, again=again, barred=barred
        )

    async def _resolve(self, atlas: Atlas) -> Resolved:
        self._discovery = await self._kube.discover()
        resolved = resolve(atlas, self._discovery.find)
        if resolved.unknown:
            self._discovery = await self._kube.discover(fresh=True, than=self._discovery)
            resolved = resolve(atlas, self._discovery.find)
        problems = list(resolved.problems)
        for item in resolved.all:
            found = self.resource_of(item)
            if found is not None and not found.verbs >= _NEEDED:
                problems.append(item.problem("this kind cannot be kept in a cluster (it has no list, watch or patch)"))
        if problems:
            raise ClusterRefused(problems)
        if not resolved.all:
            raise AtlasRefused([Problem(cause="the Atlas has no manifests: nothing is changed, nothing is deleted")])
        return resolved

    def _see(self, item: Item) -> plan.Observed | None:
        resource = self.resource_of(item)
        return self._mirror.see(item, resource) if resource else None

    async def follow(
        self, items: Sequence[Item], inventories: Mapping[str, Inventory], specs: Mapping[str, AppSpec]
    ) -> dict[str, list[Problem]]:
        """Opens the watches for all that is wanted or in the inventory. The apps of which something wanted may not be
        followed, and why; what only is in the inventory still may be refused when it is to be deleted."""
        triples = {
            item.key: (item.account, resource, item.ref.namespace)
            for item in items
            if (resource := self.resource_of(item))
        }
        wanted = set(triples.values())
        keys = {item.key for item in items}
        for app, inventory in inventories.items():
            account = account_of(app, inventory, specs)
            for key, entry in inventory.entries.items():
                if key not in keys and (resource := self.resource(entry.ref)):
                    wanted.add((account, resource, entry.namespace))
        refused = await self._mirror.follow(wanted)
        barred: dict[str, list[Problem]] = {}
        for item in items:
            if item.key in triples and (error := refused.get(triples[item.key])):
                barred.setdefault(item.app, []).append(item.problem(error.cause))
        for account in sorted({item.account for item in items if item.app in barred}):
            if await self._writer.account_exists(account) is False:
                problem = Problem(cause=f"service account {account} does not exist")
                for app in {item.app for item in items if item.account == account} & set(barred):
                    barred[app].append(problem)
        return barred

    def _judge_prune(  # noqa: PLR0917
        self,
        app: str,
        refs: tuple[Ref, ...],
        inventory: Inventory,
        resolved: Resolved,
        specs: Mapping[str, AppSpec],
        revision: str,
    ) -> PruneDecision:
        spec = specs.get(app)
        return prune.decide(
            leaving=refs,
            present=len(inventory.entries),
            remaining=len(resolved.items.get(app, ())),
            approve=spec.approve_prune if spec else "",
            held=Held(inventory.meta.held_revision, inventory.meta.held_digest),
            revision=revision,
            policy=self._policy,
        )

    async def _dry_run(
        self, steps: dict[str, tuple[Step, ...]], barred: dict[str, list[Problem]] | None
    ) -> frozenset[Key]:
        """Asks the server for every object that would be sent; the keys to be asked again before their stage.

        With `barred` what is refused stops its app alone, which is entered there, and is only kept.
        """
        sending = [step.item for group in steps.values() for step in group if step.action is not Action.KEEP]
        new_namespaces = await self._new_namespaces(steps)
        redefined = {
            (step.item.body.get("spec", {}).get("group"), step.item.body.get("spec", {}).get("names", {}).get("kind"))
            for group in steps.values()
            for step in group
            if wave(step.item.ref) is Wave.DEFINITIONS and step.action is not Action.KEEP
        }
        problems: list[tuple[str, Problem]] = []
        ask: list[tuple[Item, Resource, bool]] = []
        again: set[Key] = set()
        for item in sending:
            resource = self.resource_of(item)
            if item.new_kind is not None and (resource is None or (item.ref.group, item.ref.kind) in redefined):
                found = crdschema.check(item.body, item.new_kind.schema)
                problems += [(item.app, item.problem(why, path)) for path, why in found]
                again.add(item.key)
                continue
            assert resource is not None
            scratch = item.ref.namespace in new_namespaces
            if scratch:
                again.add(item.key)
            ask.append((item, resource, scratch))
        problems += await self._asked(ask)
        if problems and barred is None:
            raise ClusterRefused([problem for _, problem in problems])
        for app, problem in problems:
            assert barred is not None
            barred.setdefault(app, []).append(problem)
            steps[app] = _untouched(steps[app])
        return frozenset(again)

    async def ask(self, items: Sequence[tuple[Item, Resource, bool]]) -> list[Problem]:
        """Dry-runs items, many at once; what the server has against them."""
        return [problem for _, problem in await self._asked(items)]

    async def _asked(self, items: Sequence[tuple[Item, Resource, bool]]) -> list[tuple[str, Problem]]:
        """The same with the app of each problem."""
        results: list[Object | BaseException] = await bounded(
            self._writer.limit,
            [lambda i=i, r=r, s=s: self._writer.dry_run(i, r, scratch=s) for i, r, s in items],  # type: ignore[misc]
        )
        raise_unexpected(results)
        problems: list[tuple[str, Problem]] = []
        forbidden: set[tuple[str, str]] = set()
        for (item, _, _), result in zip(items, results, strict=True):
            if not isinstance(result, KubeRejected):
                continue
            if lacks_dry_run(result) and not self._refuse_undryable:
                continue
            problems += [(item.app, problem) for problem in problems_of(item, result)]
            if result.status == 403:
                forbidden.add((item.account, item.app))
        for account, app in sorted(forbidden):
            if await self._writer.account_exists(account) is False:
                problems.append((app, Problem(cause=f"service account {account} does not exist")))
        return problems

    async def _new_namespaces(self, steps: Mapping[str, tuple[Step, ...]]) -> frozenset[str]:
        """Namespaces that the commit creates: in it, not seen as ours, and not there under another's name either."""
        candidates = [
            step.item
            for group in steps.values()
            for step in group
            if wave(step.item.ref) is Wave.NAMESPACES and step.action is Action.CREATE
        ]
        found = await bounded(
            self._writer.limit,
            [lambda i=i: self._writer.live(i.ref, NAMESPACES, i.account) for i in candidates],  # type: ignore[misc]
        )
        raise_unexpected(found)
        return frozenset(
            item.ref.name for item, live in zip(candidates, found, strict=True) if live is None or _going(live)
        )

    async def _ask_deletions(
        self,
        prunes: Mapping[str, PruneDecision],
        inventories: Mapping[str, Inventory],
        specs: Mapping[str, AppSpec],
    ) -> list[Problem]:
        targets = [
            (app, ref, resource, account)
            for app, decision in prunes.items()
            for account in [account_of(app, inventories[app], specs)]
            for ref in decision.delete
            # What may not even be looked at is found out when it is deleted: a lost right stops no other app.
            if (resource := self.resource(ref)) and not self._mirror.refuses(account, resource, ref.namespace)
        ]
        results = await bounded(
            self._writer.limit,
            [
                lambda r=r, k=k, a=a: self._writer.delete(r, k, a, uid="", dry_run=True)  # type: ignore[misc]
                for _, r, k, a in targets
            ],
        )
        raise_unexpected(results)
        return [
            Problem(cause=f"may not be deleted: {result.cause}", object=str(ref), file=_file(app, specs))
            for (app, ref, _, _), result in zip(targets, results, strict=True)
            # A kind that stopped being served just now: the same.
            if isinstance(result, KubeRejected) and not isinstance(result, NotServed)
        ]


def _untouched(steps: Sequence[Step]) -> tuple[Step, ...]:
    return tuple(step for step in steps if step.action is Action.KEEP)


def _as_applied(items: Sequence[Item], inventories: Mapping[str, Inventory]) -> bool:
    """True when an app is in the commit as it was applied last, by the same account."""
    return all(
        (inventory := inventories.get(item.app)) is not None
        and inventory.meta.account == item.account
        and (entry := inventory.entries.get(item.key)) is not None
        and entry.digest == item.digest
        for item in items
    )


def account_of(app: str, inventory: Inventory, specs: Mapping[str, AppSpec]) -> str:
    """As whom an app's leftovers are read and deleted: its service account, or the one it had."""
    spec = specs.get(app)
    return (spec.service_account if spec else inventory.meta.account) or AppSpec(name=app).service_account


def _file(app: str, specs: Mapping[str, AppSpec]) -> str:
    return specs[app].file if app in specs else ""


def _going(live: object) -> bool:
    return isinstance(live, dict) and "deletionTimestamp" in live["metadata"]
