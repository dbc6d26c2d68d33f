"""How what came of an app becomes a report to the cloud. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agents.contracts.messages import Counts, Deployment, Phase, Problem
from vessel.model import Commit
from vessel.plan import Action, Step

WHOLE = "*"
"""The app name that means the whole Atlas."""
_MAX_PROBLEMS = 50
_SHORT = 256


@dataclass
class Tally:
    """Counts of one app in one pass, and seconds by step."""

    total: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    pruned: int = 0
    repaired: int = 0
    healthy: int = 0
    durations: dict[str, float] = field(default_factory=dict)

    def counts(self) -> Counts:
        """As the wire type."""
        return Counts(
            total=self.total,
            created=self.created,
            changed=self.changed,
            unchanged=self.unchanged,
            pruned=self.pruned,
            repaired=self.repaired,
            healthy=self.healthy,
        )


def tally(steps: Iterable[Step]) -> Tally:
    """What a plan is going to do."""
    result = Tally()
    for step in steps:
        result.total += 1
        if step.action is Action.CREATE:
            result.created += 1
        elif step.action is Action.CHANGE:
            result.changed += 1
        elif step.action is Action.REPAIR:
            result.repaired += 1
        else:
            result.unchanged += 1
    return result


def summed(tallies: Iterable[Tally], durations: Mapping[str, float]) -> Tally:
    """The whole Atlas' tally."""
    result = Tally(durations=dict(durations))
    for one in tallies:
        for name in ("total", "created", "changed", "unchanged", "pruned", "repaired", "healthy"):
            setattr(result, name, getattr(result, name) + getattr(one, name))
    return result


def whole_phase(phases: Iterable[str], healthy: bool) -> Phase:
    """The whole Atlas' phase, from its apps' phases and whether it became healthy."""
    found = set(phases)
    if Phase.PARTIAL in found:
        return Phase.PARTIAL
    if not healthy:
        return Phase.DEGRADED
    return Phase.PRUNE_HELD if Phase.PRUNE_HELD in found else Phase.HEALTHY


def report(  # noqa: PLR0917 - reads as the report does
    app: str, owner: str, commit: Commit, phase: Phase, counted: Tally, problems: Iterable[Problem] = ()
) -> Deployment:
    """One report; texts cut to what the contract allows, the rest of too many problems counted in the last one."""
    listed = list(problems)
    if len(listed) > _MAX_PROBLEMS:
        more = len(listed) - _MAX_PROBLEMS + 1
        listed = [*listed[: _MAX_PROBLEMS - 1], Problem(cause=f"and {more} more")]
    return Deployment(
        app=app[:_SHORT],
        owner=owner[:_SHORT],
        revision=commit.revision[:_SHORT],
        phase=phase,
        counts=counted.counts(),
        problems=listed,
        durations={name: round(max(0.0, seconds), 3) for name, seconds in counted.durations.items()},
        subject=commit.subject[:_SHORT],
        author=commit.author[:_SHORT],
    )
