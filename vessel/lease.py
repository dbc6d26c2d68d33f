"""Who may write: decisions over the Lease `galley-system/vessel`. Pure.

Source of the rules: client-go tools/leaderelection. A remote clock is never trusted: another's lease has ended when
this process has not seen the record change for the lease's duration, by its own monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

REVISION_ANNOTATION = "vessel.galley/revision"


@dataclass(frozen=True)
class Terms:
    """In s: how long a lease holds unseen, how long the holder tries to renew, how often all look at it."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 3.0


@dataclass(frozen=True)
class Record:
    """What the Lease says. `resource_version` tells one state of it from another."""

    holder: str = ""
    resource_version: str = ""
    transitions: int = 0
    revision: str = ""


@dataclass(frozen=True)
class Seen:
    """The last record, when (monotonic s) it was first seen, and until when this process holds the lease."""

    record: Record | None = None
    at: float = float("-inf")
    held_until: float = float("-inf")
    renewed_at: float = float("-inf")


def read(lease: Mapping[str, Any] | None) -> Record | None:
    """The record of a Lease object, None when there is none."""
    if lease is None:
        return None
    spec, meta = lease.get("spec") or {}, lease.get("metadata") or {}
    return Record(
        holder=spec.get("holderIdentity") or "",
        resource_version=meta.get("resourceVersion") or "",
        transitions=spec.get("leaseTransitions") or 0,
        revision=(meta.get("annotations") or {}).get(REVISION_ANNOTATION, ""),
    )


def observe(seen: Seen, record: Record | None, now: float) -> Seen:
    """Remembers when a record that differs from the last one was first seen."""
    if seen.record == record and seen.at > float("-inf"):
        return seen
    return Seen(record=record, at=now, held_until=seen.held_until, renewed_at=seen.renewed_at)


def may_take(seen: Seen, me: str, now: float, terms: Terms) -> bool:
    """True when the lease is absent, free, already mine, or its holder was silent for the whole duration."""
    if seen.record is None or not seen.record.holder or seen.record.holder == me:
        return True
    return now >= seen.at + terms.duration


def written(record: Record, asked_at: float, terms: Terms) -> Seen:
    """After a successful write: holds from when it was asked for, since others may count from then."""
    return Seen(record=record, at=asked_at, held_until=asked_at + terms.duration, renewed_at=asked_at)


def may_write(seen: Seen, me: str, now: float, terms: Terms) -> bool:
    """True while this process holds the lease and renewed it within the renew deadline."""
    mine = seen.record is not None and seen.record.holder == me
    return mine and now < min(seen.held_until, seen.renewed_at + terms.renew_deadline)


def lost(seen: Seen) -> Seen:
    """Somebody else holds it, or it was given up."""
    return Seen(record=seen.record, at=seen.at)


def body(
    previous: Mapping[str, Any] | None, *, namespace: str, name: str, me: str, wall_ms: int, terms: Terms, revision: str
) -> dict[str, Any]:
    """The Lease to write: a new one, or `previous` (with its resourceVersion, as precondition) renewed or taken."""
    stamp = datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    before = (previous or {}).get("spec") or {}
    same = before.get("holderIdentity") == me
    spec = {
        "holderIdentity": me,
        "leaseDurationSeconds": int(terms.duration),
        "acquireTime": before.get("acquireTime") if same and before.get("acquireTime") else stamp,
        "renewTime": stamp,
        "leaseTransitions": (before.get("leaseTransitions") or 0) + (0 if same or not before else 1),
    }
    meta: dict[str, Any] = {"name": name, "namespace": namespace}
    if previous is not None:
        meta["resourceVersion"] = previous["metadata"]["resourceVersion"]
    annotations = dict(((previous or {}).get("metadata") or {}).get("annotations") or {})
    if revision:
        annotations[REVISION_ANNOTATION] = revision
    if annotations:
        meta["annotations"] = annotations
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
