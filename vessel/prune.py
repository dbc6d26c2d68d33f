"""Whether what left the Atlas may be deleted, or waits for a person's word. Pure.

Design, "Vessel: what must hold", 4: a prune past the cap, of a namespace, a definition or a volume claim, or of
everything waits. The word is `approve: {prune: <revision>}` in the app's app.yaml, where the revision is the one at
which this very set of deletions was first held (it is in the report): it allows that set and no other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from vessel.fields import digest
from vessel.model import Ref
from vessel.order import is_precious

_SHORTEST = 7


@dataclass(frozen=True)
class PrunePolicy:
    """`max_percent` of an app's objects, and `max_count` of them, may go without a person's word."""

    max_percent: float = 50.0
    max_count: int = 100


@dataclass(frozen=True)
class Held:
    """A set of deletions (by digest) that waits, and the revision at which it began to."""

    revision: str = ""
    digest: str = ""


@dataclass(frozen=True)
class PruneDecision:
    """What may be deleted now, what waits and why. `held` is to be remembered with the inventory."""

    delete: tuple[Ref, ...] = ()
    wait: tuple[Ref, ...] = ()
    reasons: tuple[str, ...] = ()
    held: Held = Held()


def decide(
    *,
    leaving: Collection[Ref],
    present: int,
    remaining: int,
    approve: str,
    held: Held,
    revision: str,
    policy: PrunePolicy,
) -> PruneDecision:
    """`leaving`: inventory objects that the commit no longer has; `present`: objects in the inventory of the app;
    `remaining`: objects the commit has for it; `approve`: the person's word; `held`: what waited so far."""
    refs = tuple(sorted(leaving))
    if not refs:
        return PruneDecision()
    reasons = _reasons(refs, present, remaining, policy)
    if not reasons:
        return PruneDecision(delete=refs)
    mark = digest([list(ref.key) for ref in refs])
    since = held.revision if held.digest == mark and held.revision else revision
    if len(approve) >= _SHORTEST and since.startswith(approve):
        return PruneDecision(delete=refs)
    return PruneDecision(wait=refs, reasons=reasons, held=Held(since, mark))


def _reasons(refs: tuple[Ref, ...], present: int, remaining: int, policy: PrunePolicy) -> tuple[str, ...]:
    reasons = []
    percent = 100 * len(refs) / max(1, present)
    if remaining == 0:
        reasons.append(f"all {len(refs)} objects of the app would be deleted")
    elif percent > policy.max_percent:
        reasons.append(f"{len(refs)} of {present} objects would be deleted, more than {policy.max_percent:g} %")
    if len(refs) > policy.max_count:
        reasons.append(f"{len(refs)} objects would be deleted, more than {policy.max_count}")
    precious = [str(ref) for ref in refs if is_precious(ref)]
    if precious:
        named = ", ".join(precious[:5]) + (f" and {len(precious) - 5} more" if len(precious) > 5 else "")
        reasons.append(f"{named} would be deleted, with all that is in it")
    return tuple(reasons)
