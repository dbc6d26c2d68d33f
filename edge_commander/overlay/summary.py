"""What the cloud is told of a node's /etc: counts, the first paths, and alerts on what is new. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from agents.contracts.messages import Alert, Overlay, Severity

FIRST = 10
"""Paths that are named; the rest is counted."""
LONGEST = 200


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of the machine half to `overlay-diff`. `drift`, `newer`: how many paths, and `*_paths` the first of
    them; `*_digest`: of them all. `dropped`: file and path of each backup. `problems`: those of this boot, in words."""

    image: str = ""
    drift: int = 0
    drift_paths: list[str] = []
    drift_digest: str = ""
    newer: int = 0
    newer_paths: list[str] = []
    newer_digest: str = ""
    dropped: list[tuple[str, str]] = []
    problems: list[str] = []
    memory: bool = False

    def message(self) -> Overlay:
        """As it is sent."""
        return Overlay(
            image=self.image[:256],
            drift=self.drift,
            paths=self.drift_paths,
            newer=self.newer,
            dropped=len(self.dropped),
            problems=len(self.problems),
            memory=self.memory,
        )


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was told already. `message`: the digest of the last one; `dropped`: files of backups."""

    message: str = ""
    drift: str = ""
    newer: str = ""
    problems: str = ""
    dropped: list[str] = []


def first(paths: Sequence[str]) -> list[str]:
    """The first paths, each not too long for a message."""
    return [one if len(one) <= LONGEST else f"{one[: LONGEST - 1]}…" for one in paths[:FIRST]]


def digest(texts: Sequence[str]) -> str:
    """Of all; empty for none."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16] if texts else ""


def news(found: Summary, told: Told) -> tuple[list[Overlay | Alert], Told]:
    """What is to be sent, and what then is told. Nothing where nothing changed."""
    message = found.message()
    new = Told(
        message=hashlib.sha256(msgspec.json.encode(message)).hexdigest()[:16],
        drift=found.drift_digest,
        newer=found.newer_digest,
        problems=digest(found.problems),
        dropped=[file for file, _ in found.dropped],
    )
    out: list[Overlay | Alert] = []
    if new.drift and new.drift != told.drift:
        paths = _listed(found.drift_paths, found.drift)
        text = f"{found.drift} path(s) of /etc differ from the image and may not: {paths}"
        out.append(Alert(code="etc-drift", severity=Severity.WARNING, text=text))
    if new.newer and new.newer != told.newer:
        text = f"the image has newer files below what may differ: {_listed(found.newer_paths, found.newer)}"
        out.append(Alert(code="etc-newer", severity=Severity.INFO, text=text))
    if dropped := [path for file, path in found.dropped if file not in told.dropped]:
        text = f"dropped for the image's newer files, and kept on keep: {_listed(first(dropped), len(dropped))}"
        out.append(Alert(code="etc-dropped", severity=Severity.WARNING, text=text))
    if new.problems and new.problems != told.problems:
        severity = Severity.CRITICAL if found.memory else Severity.WARNING
        out.append(Alert(code="etc-overlay", severity=severity, text="; ".join(found.problems[:5])[:4000]))
    if new.message != told.message:
        out.append(message)
    return out, new


def _listed(paths: Sequence[str], count: int) -> str:
    more = f" and {count - len(paths)} more" if count > len(paths) else ""
    return ", ".join(one or "." for one in paths) + more
