"""Is an object done? One function per kind over the object alone. Pure.

Sources of the rules: `kubectl rollout status` (polymorphichelpers/rollout_status.go) for Deployment, StatefulSet and
DaemonSet, and kstatus (sigs.k8s.io/cli-utils) for the rest, with three exceptions: a Service of type LoadBalancer
and a pending PersistentVolumeClaim are not waited for (a site may have no load balancer, and a claim may be bound
by its first consumer only, whose own health covers it), and what is paused or suspended by its manifest is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Live = Mapping[str, Any]


class State(StrEnum):
    """Where an object stands."""

    DONE = "done"
    PROGRESSING = "progressing"  # may still become done
    FAILED = "failed"  # will not become done without a change


@dataclass(frozen=True)
class Health:
    """A state and, unless done, why."""

    state: State
    reason: str = ""

    @property
    def done(self) -> bool:
        """True when there is nothing to wait for."""
        return self.state is State.DONE


DONE = Health(State.DONE)


def _progressing(reason: str) -> Health:
    return Health(State.PROGRESSING, reason)


def _failed(reason: str) -> Health:
    return Health(State.FAILED, reason)


def health(live: Live) -> Health:
    """The health of a live object of any kind and any shape: a controller may write what it likes into a status."""
    meta = _mapping(live.get("metadata"))
    if meta.get("deletionTimestamp"):
        return _progressing("is being deleted")
    status = _mapping(live.get("status"))
    if _count(status, "observedGeneration", _count(meta, "generation")) < _count(meta, "generation"):
        return _progressing("its controller has not seen the change yet")
    group = str(live.get("apiVersion", "")).rpartition("/")[0]
    rule = _RULES.get((group, str(live.get("kind", ""))))
    if rule is not None:
        return rule(_mapping(live.get("spec")), status)
    return _custom(status) if _is_custom(group) else DONE


def _mapping(value: Any) -> Live:
    return value if isinstance(value, dict) else {}


def _count(of: Live, name: str, default: int = 0) -> int:
    value = of.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _condition(status: Live, type_: str) -> Live:
    conditions = status.get("conditions")
    listed = conditions if isinstance(conditions, list) else ()
    found = [c for c in listed if isinstance(c, dict) and c.get("type") == type_]
    return found[0] if found else {}


def _said(condition: Live) -> str:
    return str(condition.get("message") or condition.get("reason") or condition.get("type", ""))[:300]


def _deployment(spec: Live, status: Live) -> Health:  # noqa: PLR0911 - one line a rule
    wanted = _count(spec, "replicas", 1)
    if spec.get("paused"):
        return DONE
    if "observedGeneration" not in status:
        return _progressing("its controller has not seen it yet")
    progressing = _condition(status, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return _failed(f"exceeded its progress deadline: {_said(progressing)}")
    updated, total, available = (_count(status, k) for k in ("updatedReplicas", "replicas", "availableReplicas"))
    if updated < wanted:
        return _progressing(f"{updated} of {wanted} replicas updated")
    if total > updated:
        return _progressing(f"{total - updated} old replicas are still there")
    if available < updated:
        return _progressing(f"{available} of {updated} replicas available")
    return DONE


def _replica_set(spec: Live, status: Live) -> Health:
    wanted, available = _count(spec, "replicas", 1), _count(status, "availableReplicas")
    if "observedGeneration" not in status or available < wanted:
        return _progressing(f"{available} of {wanted} replicas available")
    return DONE


def _stateful_set(spec: Live, status: Live) -> Health:  # noqa: PLR0911 - one line a rule
    strategy = _mapping(spec.get("updateStrategy"))
    wanted = _count(spec, "replicas", 1)
    if "observedGeneration" not in status:
        return _progressing("its controller has not seen it yet")
    ready, updated = _count(status, "readyReplicas"), _count(status, "updatedReplicas")
    if ready < wanted:
        return _progressing(f"{ready} of {wanted} replicas ready")
    if strategy.get("type") == "OnDelete":
        return DONE
    partition = _count(_mapping(strategy.get("rollingUpdate")), "partition")
    if partition:
        if updated < wanted - partition:
            return _progressing(f"{updated} of {wanted - partition} replicas updated")
        return DONE
    if status.get("updateRevision") != status.get("currentRevision") and wanted:
        return _progressing(f"{updated} of {wanted} replicas updated")
    return DONE


def _daemon_set(spec: Live, status: Live) -> Health:
    if "observedGeneration" not in status:
        return _progressing("its controller has not seen it yet")
    wanted = _count(status, "desiredNumberScheduled")
    updated, available = _count(status, "updatedNumberScheduled"), _count(status, "numberAvailable")
    if _mapping(spec.get("updateStrategy")).get("type") != "OnDelete" and updated < wanted:
        return _progressing(f"{updated} of {wanted} nodes updated")
    if available < wanted:
        return _progressing(f"{available} of {wanted} nodes available")
    return DONE


def _job(spec: Live, status: Live) -> Health:
    if _condition(status, "Complete").get("status") == "True":
        return DONE
    failed = _condition(status, "Failed")
    if failed.get("status") == "True":
        return _failed(f"failed: {_said(failed)}")
    if spec.get("suspend"):
        return DONE
    return _progressing(f"{status.get('succeeded', 0)} of {spec.get('completions') or 1} completions")


def _crd(spec: Live, status: Live) -> Health:
    names = _condition(status, "NamesAccepted")
    if names.get("status") == "False":
        return _failed(f"names not accepted: {_said(names)}")
    if _condition(status, "Established").get("status") == "True":
        return DONE
    return _progressing("not established yet")


def _namespace(spec: Live, status: Live) -> Health:
    return DONE if status.get("phase", "Active") == "Active" else _progressing("is being deleted")


def _claim(spec: Live, status: Live) -> Health:
    return _failed("its volume is lost") if status.get("phase") == "Lost" else DONE


def _pod(spec: Live, status: Live) -> Health:
    phase = status.get("phase", "Pending")
    if phase == "Succeeded":
        return DONE
    if phase == "Failed":
        return _failed(str(status.get("message") or status.get("reason") or "failed")[:300])
    if _condition(status, "Ready").get("status") == "True":
        return DONE
    return _progressing(f"{phase}, not ready")


def _api_service(spec: Live, status: Live) -> Health:
    available = _condition(status, "Available")
    return DONE if available.get("status") == "True" else _progressing(_said(available) or "not available")


def _custom(status: Live) -> Health:
    stalled = _condition(status, "Stalled")
    if stalled.get("status") == "True":
        return _failed(_said(stalled))
    if _condition(status, "Reconciling").get("status") == "True":
        return _progressing(_said(_condition(status, "Reconciling")))
    ready = _condition(status, "Ready")
    if ready.get("status") in ("False", "Unknown"):
        return _progressing(_said(ready))
    return DONE


def _is_custom(group: str) -> bool:
    """True for groups that are not Kubernetes' own."""
    return "." in group and not group.endswith(".k8s.io")


_RULES: dict[tuple[str, str], Callable[[Live, Live], Health]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("", "ReplicationController"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _crd,
    ("", "Namespace"): _namespace,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Pod"): _pod,
    ("apiregistration.k8s.io", "APIService"): _api_service,
}
