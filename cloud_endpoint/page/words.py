"""The health bits of a beat in words for people who do not know Linux. Pure."""

from __future__ import annotations

from agents.contracts.codec import Struct
from agents.contracts.health import HealthBit, unpack

WORDS: dict[HealthBit, tuple[str, str]] = {
    HealthBit.DISK: ("Disks have room", "A disk is nearly full or does not answer"),
    HealthBit.MEMORY: ("Memory is free", "Memory is nearly used up"),
    HealthBit.CLOCK: ("The clock is right", "The clock is not synchronised"),
    HealthBit.TEMPERATURE: ("Temperature is normal", "The machine is too hot"),
    HealthBit.LOCAL_API: ("Kubernetes answers", "Kubernetes of the site does not answer"),
    HealthBit.COMMANDER: ("Edge Commander answers", "Edge Commander does not answer"),
    HealthBit.OUTBOX: ("Few reports wait to be sent", "The queue of unsent reports is nearly full"),
    HealthBit.UPLINK: ("Reports reach the cloud", "The last report did not reach the cloud at once"),
    HealthBit.KUBELET: ("Kubelet is well", "Kubelet is not well"),
    HealthBit.RUNTIME: ("Containers can run", "The container runtime does not answer"),
}
"""What it says when good, and when bad."""


class HealthWords(Struct, frozen=True, kw_only=True):
    """What a node found of itself. What it did not look at is in neither list."""

    good: list[str]
    bad: list[str]


def health_words(ok: int) -> HealthWords:
    """Of `Beat.ok`."""
    health = unpack(ok)
    return HealthWords(
        good=[good for bit, (good, _) in WORDS.items() if bit in health.good],
        bad=[bad for bit, (_, bad) in WORDS.items() if bit in health.bad],
    )
