"""Which image to pull next, when to try a failed one again, and what to say of it all. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from agents.contracts.codec import encode
from agents.contracts.images import NodeImages, WantedImages, normal
from agents.core.backoff import Backoff

SOON = Backoff(base=5.0, cap=300.0)
"""For the line and the registry."""
LATER = 600.0
"""For what does not pass by itself soon, s: no such image, a secret needed, the disk short."""


@dataclass(frozen=True)
class Failure:
    """`again_at`: monotonic s. `final`: not worth waiting for."""

    text: str
    again_at: float
    final: bool
    backoff: Backoff = SOON


@dataclass(frozen=True)
class Progress:
    """What is known of one commit's images. `had`: those that are here whole."""

    wanted: WantedImages
    had: frozenset[str] = frozenset()
    failures: Mapping[str, Failure] = field(default_factory=dict)
    fetched: int = 0

    @property
    def images(self) -> list[str]:
        """What may be asked of the root half: anything else than whole references is left out."""
        return [one for one in self.wanted.images if normal(one) == one]

    def next(self, now: float) -> str | None:
        """The image to pull now: those that never failed first, in the order of the commit."""
        missing = [one for one in self.images if one not in self.had]
        due = [one for one in missing if one not in self.failures or self.failures[one].again_at <= now]
        return min(due, key=lambda one: one in self.failures, default=None)

    def pause(self, now: float, look: float) -> float:
        """Seconds until there is something to do, at most `look`."""
        times = [one.again_at - now for name, one in self.failures.items() if name not in self.had]
        return max(0.1, min([look, *times]))

    def pulled(self, image: str, *, done: bool, fetched: int, now: float) -> Progress:
        """After a try that ended well, or with its time. One that brought nothing is a failure."""
        after = replace(self, fetched=self.fetched + fetched)
        if done:
            rest = {name: one for name, one in self.failures.items() if name != image}
            return replace(after, had=self.had | {image}, failures=rest)
        return after if fetched else after.failed(image, "nothing came over the line", now)

    def failed(
        self,
        image: str,
        text: str,
        now: float,
        *,
        final: bool = False,
        uniform: Callable[[float, float], float] = lambda low, high: high,
    ) -> Progress:
        """After a try that failed."""
        before = self.failures.get(image)
        backoff = (before.backoff if before is not None else SOON).failed()
        wait = LATER if final else backoff.delay(uniform)
        one = Failure(text[:400], now + wait, final, backoff)
        return replace(self, failures={**self.failures, image: one})

    def said(self) -> NodeImages:
        """This node's line."""
        missing = [one for one in self.images if one not in self.had]
        failed = {one: self.failures[one].text for one in missing if one in self.failures and self.failures[one].final}
        return NodeImages(
            revision=self.wanted.revision, missing=len(missing) - len(failed), failed=failed, fetched=self.fetched
        )


def looked(progress: Progress | None, wanted: WantedImages, had: frozenset[str]) -> Progress:
    """What is known after a look at what is asked and what is here. Failures count for one commit."""
    if progress is None or progress.wanted != wanted:
        return Progress(wanted, had)
    return replace(progress, had=had)


def patch(node: str, said: NodeImages, lines: Mapping[str, object], members: frozenset[str]) -> dict[str, str | None]:
    """The merge patch (RFC 7396) of the nodes' lines: ours, and an end to those of nodes that are no more."""
    gone = [name for name in lines if members and name not in members and name != node]
    return {**dict.fromkeys(gone), node: encode(said).decode()}
