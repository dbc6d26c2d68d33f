"""From facts to steps: what is left to do for each operation. Nothing is decided later. Pure.

Asked again after a crash anywhere, a plan begins where the facts say that the last one stopped. The rules against a
second cluster: the marker is written before anything else; an epoch that was begun here is not begun again; where
the marker says member and etcd is gone, only a join goes on; and the gate keeps systemd from what we would not do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec

from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.k3s import config, layout, reference
from edge_commander.distribution.k3s.config import Way
from edge_commander.distribution.k3s.facts import Facts, Marker, Role
from edge_commander.distribution.k3s.files import GATE, MAY_FORM, File, gate
from edge_commander.distribution.k3s.settings import K3sSettings
from edge_commander.distribution.k3s.steps import (
    AwaitReady,
    CopyFile,
    DeleteObject,
    MakeDirectory,
    Record,
    RemoveFile,
    RemoveTree,
    Run,
    Step,
    WriteFile,
)
from edge_commander.distribution.port import ClusterPlan, Operation
from edge_commander.secrets.model import SiteSecrets

TREES = tuple(reference.path(name) for name in ("etc", "node-password", "data", "kubelet", "run"))
"""What a reset removes of k3s."""
UNIT = reference.name("unit")
JOIN_LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/galley-join"
_BEGINS = {Operation.INIT: Role.FORMING, Operation.JOIN: Role.JOINING, Operation.RESTORE: Role.RESTORING}
_GOES_ON = {
    Operation.INIT: frozenset({Role.FORMING}),
    Operation.JOIN: frozenset({Role.JOINING}),
    Operation.RESTORE: frozenset({Role.RESTORING, Role.RESTORED}),
}
"""Which begun work an operation may go on with, in the same epoch."""


def plan_init(facts: Facts, plan: ClusterPlan, settings: K3sSettings) -> list[Step]:
    """Steps to the first server of a new cluster. Raises Rejected where that could be a second one."""
    if _kept(Operation.INIT, facts, plan):
        if not facts.etcd:
            raise Rejected(
                f"this node was a member of the cluster of epoch {plan.epoch}, and its etcd is gone: it does not begin "
                "a second one; it may join, or the site is restored from a snapshot",
                file=reference.path("wal"),
            )
        return _keep(facts, plan, settings)
    return _enter(Operation.INIT, facts, plan, settings, way=Way.JOIN if facts.etcd else Way.INIT)


def plan_join(facts: Facts, plan: ClusterPlan, settings: K3sSettings) -> list[Step]:
    """Steps to a further server. Raises Retryable while no server of the plan answers."""
    if _kept(Operation.JOIN, facts, plan) and facts.etcd:
        return _keep(facts, plan, settings)
    if not plan.servers:
        raise Rejected("there is no server to join", path="servers")
    if not facts.answering and not facts.etcd:
        raise Retryable(f"no server answers: {', '.join(plan.servers)}")
    return _enter(Operation.JOIN, facts, plan, settings, way=Way.JOIN, server=next(iter(facts.answering), ""))


def plan_restore(facts: Facts, snapshot: str, plan: ClusterPlan, settings: K3sSettings) -> list[Step]:
    """Steps to a one-server cluster out of a snapshot; `plan.secrets` are those of the snapshot, in the new epoch."""
    if _kept(Operation.RESTORE, facts, plan) and facts.etcd:
        return _keep(facts, plan, settings)
    secrets = _secrets(plan)
    done = facts.marker.role is Role.RESTORED and facts.marker.epoch == plan.epoch and facts.etcd
    steps: list[Step] = []
    if not done:
        bare = [*_files(secrets, settings), config.config(plan, settings, Way.RESET)]
        reset, path = reference.flag("cluster-reset"), reference.flag("cluster-reset-restore-path")
        words = (*reference.command("server"), f"--{reset}", f"--{path}={snapshot}")
        steps += [
            Record(_marker(facts, plan, Role.RESTORING)),
            # Whatever ran here is of an older epoch: it must not come back, at boot neither.
            _systemctl(settings, "disable", UNIT),
            _systemctl(settings, "stop", UNIT),
            RemoveFile(MAY_FORM),
            *_writes(facts, bare),
            *_without_registries(facts, settings),
            MakeDirectory(config.snapshots(settings)),
            Run("k3s", words, settings.restore_seconds),
            Record(_marker(facts, plan, Role.RESTORED)),
        ]
    settled = config.config(replace(plan, servers=()), settings, Way.JOIN)
    return [
        *steps,
        WriteFile(settled),
        _systemctl(settings, "daemon-reload"),
        _systemctl(settings, "start", "--no-block", UNIT),
        _awaited(plan, settings),
        DeleteObject(JOIN_LEASE),  # whose turn it was to join when the snapshot was taken
        Record(_marker(facts, plan, Role.MEMBER)),
        _systemctl(settings, "enable", UNIT),
    ]


def plan_stop(facts: Facts, settings: K3sSettings) -> list[Step]:
    """Steps that bring k3s down and keep it down over a boot; empty where it is, or never was. Everything else stays:
    pods run on until a reset or a boot, as they do when k3s is stopped by hand."""
    if not facts.active and not facts.enabled:
        return []
    return [
        _systemctl(settings, "disable", UNIT),
        RemoveFile(MAY_FORM),
        _systemctl(settings, "stop", UNIT),
    ]


def plan_reset(facts: Facts, settings: K3sSettings) -> list[Step]:
    """Steps that take k3s off this node; empty when there is nothing of it."""
    marker = facts.marker
    there = [tree for tree in TREES if tree in facts.trees]
    if marker.role is Role.NONE and not there and not facts.active and GATE not in facts.have:
        return []
    return [
        Record(msgspec.structs.replace(marker, role=Role.RESETTING)),
        _systemctl(settings, "disable", UNIT),
        _systemctl(settings, "stop", UNIT),
        Run("killall", (), settings.command_seconds),
        *(RemoveTree(tree) for tree in there),
        RemoveFile(MAY_FORM),
        RemoveFile(GATE),
        _systemctl(settings, "daemon-reload"),
        Record(Marker(site=marker.site, begun=marker.begun)),
    ]


def plan_rotate(facts: Facts, settings: K3sSettings) -> list[Step]:
    """Steps to new certificates and keys below the same authorities (docs: certificate)."""
    member(facts, Operation.ROTATE)
    return [
        _systemctl(settings, "stop", UNIT),
        Run("k3s", reference.command("certificate-rotate"), settings.command_seconds),
        _systemctl(settings, "start", "--no-block", UNIT),
        AwaitReady(facts.marker.node, settings.start_seconds),
    ]


def member(facts: Facts, operation: Operation) -> None:
    """Raises Rejected unless this node is a member and has its etcd."""
    if facts.marker.role is not Role.MEMBER:
        raise Rejected(f"cannot {operation.value}: this node is no member of a cluster (it is {facts.marker.role})")
    if not facts.etcd:
        raise Rejected(f"cannot {operation.value}: etcd is gone", file=reference.path("wal"))


def _kept(operation: Operation, facts: Facts, plan: ClusterPlan) -> bool:
    """Whether this node is a member of the plan's cluster already. Raises Rejected when it may not begin, or go on."""
    marker = facts.marker
    if plan.epoch < 1 or not plan.node:
        raise Rejected("the plan names no epoch or no node")
    if marker.site not in ("", plan.site):
        raise Rejected(f"this node belongs to {marker.site}, not to {plan.site}")
    fresh = marker.role is Role.NONE
    older = operation is Operation.RESTORE and marker.epoch < plan.epoch
    if fresh or older:
        if fresh and facts.etcd and operation is not Operation.RESTORE:
            raise Rejected("here is an etcd that we did not begin: reset this node first", file=reference.path("wal"))
        if operation is not Operation.JOIN and marker.begun >= plan.epoch:
            raise Rejected(f"a cluster of epoch {marker.begun} was begun here already: this node may only join")
        return False
    if marker.epoch != plan.epoch:
        raise Rejected(f"here is a cluster of epoch {marker.epoch}, not of epoch {plan.epoch}: reset this node first")
    if marker.role is Role.MEMBER:
        return True
    if marker.role not in _GOES_ON[operation]:
        raise Rejected(f"cannot {operation.value}: this node is {marker.role.value} in epoch {marker.epoch}")
    return False


def _enter(
    operation: Operation, facts: Facts, plan: ClusterPlan, settings: K3sSettings, *, way: Way, server: str = ""
) -> list[Step]:
    """From nothing, or from where it stopped, to a member."""
    secrets = _secrets(plan)
    kept = config.config(plan, settings, way, server)
    wanted = [*_files(secrets, settings), kept]
    changed = facts.have.get(kept.path) != kept.mark
    steps: list[Step] = []
    if facts.marker.role is not _BEGINS[operation]:
        steps.append(Record(_marker(facts, plan, _BEGINS[operation])))
    steps += [*_writes(facts, wanted), *_without_registries(facts, settings), *_images(facts)]
    steps += [MakeDirectory(config.snapshots(settings)), _systemctl(settings, "daemon-reload")]
    if not facts.etcd:
        steps.append(WriteFile(File(MAY_FORM, b"")))
    if not facts.active:
        steps.append(_systemctl(settings, "start", "--no-block", UNIT))
    elif changed and not facts.etcd:
        steps.append(_systemctl(settings, "restart", "--no-block", UNIT))
    steps.append(_awaited(plan, settings))
    if way is Way.INIT:
        steps.append(WriteFile(config.config(plan, settings, Way.JOIN)))
    return [
        *steps,
        RemoveFile(MAY_FORM),
        Record(_marker(facts, plan, Role.MEMBER)),
        _systemctl(settings, "enable", UNIT),
    ]


def _keep(facts: Facts, plan: ClusterPlan, settings: K3sSettings) -> list[Step]:
    """What a member may be short of. A changed config is taken up at the next start; nothing is restarted for it."""
    steps: list[Step] = _writes(facts, [gate(), *_registries(settings), config.config(plan, settings, Way.JOIN)])
    steps += _without_registries(facts, settings)
    if MAY_FORM in facts.have:
        steps.append(RemoveFile(MAY_FORM))
    if any(isinstance(step, WriteFile) and step.file.path == GATE for step in steps) or not facts.active:
        steps.append(_systemctl(settings, "daemon-reload"))
    if not facts.enabled:
        steps.append(_systemctl(settings, "enable", UNIT))
    if not facts.active:
        steps.append(_systemctl(settings, "start", "--no-block", UNIT))
        steps.append(_awaited(plan, settings))
    return steps


def _awaited(plan: ClusterPlan, settings: K3sSettings) -> AwaitReady:
    """A network that the Atlas brings comes after the cluster, and no Node is Ready without one."""
    return AwaitReady(plan.node, settings.start_seconds, network=settings.flannel_backend != "none")


def _secrets(plan: ClusterPlan) -> SiteSecrets:
    secrets = plan.secrets
    if secrets is None:
        raise Rejected("the plan brings no secrets", path="secrets")
    if (secrets.site, secrets.epoch) != (plan.site, plan.epoch):
        raise Rejected(
            f"the secrets are of {secrets.site}, epoch {secrets.epoch}; the plan is of {plan.site}, epoch {plan.epoch}",
            path="secrets",
        )
    return secrets


def _marker(facts: Facts, plan: ClusterPlan, role: Role) -> Marker:
    return Marker(
        site=plan.site,
        node=plan.node,
        epoch=plan.epoch,
        generation=plan.secrets.generation if plan.secrets else facts.marker.generation,
        role=role,
        begun=max(facts.marker.begun, plan.epoch),
    )


def _files(secrets: SiteSecrets, settings: K3sSettings) -> list[File]:
    return [gate(), *layout.files(secrets), *_registries(settings)]


def _registries(settings: K3sSettings) -> list[File]:
    file = config.registries(settings)
    return [file] if file else []


def _without_registries(facts: Facts, settings: K3sSettings) -> list[Step]:
    path = reference.path("registries")
    return [RemoveFile(path)] if path in facts.have and not _registries(settings) else []


def _writes(facts: Facts, wanted: Iterable[File]) -> list[Step]:
    return [WriteFile(file) for file in wanted if facts.have.get(file.path) != file.mark]


def _images(facts: Facts) -> list[Step]:
    return [
        CopyFile(source, f"{reference.path('images')}/{source.rpartition('/')[2]}", 0o644)
        for source, there in sorted(facts.images.items())
        if not there
    ]


def _systemctl(settings: K3sSettings, *words: str) -> Run:
    return Run("systemctl", words, settings.command_seconds)
