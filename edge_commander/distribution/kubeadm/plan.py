"""From what was observed to the steps that are left: init, join, restore, rotate, reset. Pure.

The marker is written before anything else, so a crash is known afterwards. What a crash left half done is wiped and
begun again, as a file may be torn; only where the node is a whole member already is it just noted. That is safe, as
the caller hears of success last: until then nobody else has built on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.kubeadm import config, layout
from edge_commander.distribution.kubeadm.facts import EtcdMember, LocalFacts, SeedFacts
from edge_commander.distribution.kubeadm.settings import KubeadmSettings
from edge_commander.distribution.kubeadm.steps import (
    DeleteNode,
    EndProcesses,
    Finish,
    FreeTurn,
    Link,
    MakeEtcd,
    Mark,
    Marker,
    NameAddress,
    PutAway,
    Remove,
    RemoveEtcdMember,
    RestartComponents,
    Run,
    Step,
    WaitNode,
    Write,
)
from edge_commander.distribution.port import ClusterPlan
from edge_commander.secrets.model import SiteSecrets

STOP_WORDS = "# Made by Edge Commander: the cluster of this node is of an older epoch."


def checked(plan: ClusterPlan) -> SiteSecrets:
    """The plan's secrets; Rejected when the plan is not one that this distribution can carry out."""
    if not plan.address:
        raise Rejected("the plan names no address of this node")
    if plan.secrets is None:
        raise Rejected("the site's secrets are not there")
    if (plan.secrets.site, plan.secrets.epoch) != (plan.site, plan.epoch):
        raise Rejected(
            f"the secrets are of {plan.secrets.site}, epoch {plan.secrets.epoch}, "
            f"the plan of {plan.site}, epoch {plan.epoch}"
        )
    return plan.secrets


def begun(plan: ClusterPlan, facts: LocalFacts, role: str) -> bool:
    """Whether this operation was begun here. Rejected where this node is, or was to be, of another cluster."""
    marker = facts.marker
    if marker is None:
        if facts.traces:
            raise Rejected("there is a cluster on this node that was not made here: reset it first")
        return False
    if (marker.site, marker.epoch) != (plan.site, plan.epoch):
        raise Rejected(
            f"this node is of {marker.site}, epoch {marker.epoch}, not of {plan.site}, epoch {plan.epoch}: "
            "reset it first"
        )
    if marker.node != plan.node or marker.address != plan.address:
        raise Rejected(f"this node is {marker.node} at {marker.address} there, not {plan.node} at {plan.address}")
    if marker.role != role and (not marker.done or "worker" in (marker.role, role)):
        raise Rejected(f"{marker.role} was begun here, not {role}: reset this node first")
    return True


def initialise(
    plan: ClusterPlan, facts: LocalFacts, *, formed: bool, public_key: str, settings: KubeadmSettings
) -> list[Step]:
    """The steps of `init`. `formed`: this node's API server is ready and its Node is marked as control plane;
    `public_key`: PEM, of the service accounts' key."""
    secrets = checked(plan)
    file = f"{settings.state_dir}/init.yaml"
    marker = _marker(plan, "init", settings.version)
    if not begun(plan, facts, "init"):
        _need_programs(facts, settings)
    elif facts.marker is not None and facts.marker.done:
        return [NameAddress(settings.endpoint_name, plan.address)]
    elif formed:
        return [*_last_phases(file, settings), Finish(marker)]
    return [
        Mark(marker),
        Link(f"{settings.programs}/current", settings.version),
        *wiped(settings, half_made=facts.traces),
        *_placed(plan, secrets, public_key, settings),
        Write(file, config.init_documents(plan, settings)),
        MakeEtcd(plan.node, plan.address, f"{plan.site}-{plan.epoch}"),
        Run(_kubeadm(settings), ("init", "--config", file), settings.init_seconds),
        Finish(marker),
    ]


def join(
    plan: ClusterPlan, facts: LocalFacts, seed: SeedFacts, *, formed: bool, discovery: bytes, public_key: str,
    settings: KubeadmSettings,
) -> list[Step]:  # fmt: skip
    """The steps of `join`. `discovery`: a kubeconfig for `seed.seed`. What an earlier box of this name left in the
    cluster goes first: kubeadm waits for ever for a dead member of etcd."""
    secrets = checked(plan)
    file = f"{settings.state_dir}/join.yaml"
    marker = _marker(plan, "join", settings.version)
    if not begun(plan, facts, "join"):
        _need_programs(facts, settings)
    elif facts.marker is not None and facts.marker.done:
        return [NameAddress(settings.endpoint_name, plan.address)]
    elif formed:
        return [NameAddress(settings.endpoint_name, plan.address), Finish(marker)]
    if not seed.seed:
        raise Retryable(f"none of the servers answers: {', '.join(plan.servers) or 'none is known'}")
    return [
        Mark(marker),
        Link(f"{settings.programs}/current", settings.version),
        *wiped(settings, half_made=facts.traces),
        *_ghosts(plan, seed),
        *_placed(plan, secrets, public_key, settings),
        NameAddress(settings.endpoint_name, seed.seed),
        Write(config.discovery_file(settings), discovery),
        Write(file, config.join_documents(plan, settings)),
        Run(_kubeadm(settings), ("join", "--config", file), settings.join_seconds),
        Remove(config.discovery_file(settings)),
        NameAddress(settings.endpoint_name, plan.address),
        Finish(marker),
    ]


def restore(
    plan: ClusterPlan,
    facts: LocalFacts,
    database: str,
    *,
    others: Sequence[str],
    public_key: str,
    settings: KubeadmSettings,
) -> list[Step]:
    """The steps of `restore`: etcd's data from the snapshot's `database`, then kubeadm over it. `others`: the nodes
    that were in the cluster when it was saved; each joins anew. Revisions are bumped, so that no watch of before
    believes it is up to date (etcd.io: Disaster recovery)."""
    secrets = checked(plan)
    file = f"{settings.state_dir}/init.yaml"
    marker = _marker(plan, "restore", settings.version)
    gone: list[Step] = [DeleteNode(one) for one in others if one != plan.node]
    if not begun(plan, facts, "restore"):
        _need_programs(facts, settings)
    elif facts.marker is not None and facts.marker.done:
        return [NameAddress(settings.endpoint_name, plan.address)]
    peer = f"https://{plan.address}:{layout.PEER_PORT}"
    arguments = (
        "snapshot", "restore", database, "--data-dir", layout.ETCD_DATA, "--name", plan.node,
        "--initial-cluster", f"{plan.node}={peer}", "--initial-advertise-peer-urls", peer,
        "--initial-cluster-token", f"{plan.site}-{plan.epoch}", "--bump-revision", "1000000000", "--mark-compacted",
    )  # fmt: skip
    return [
        Mark(marker),
        Link(f"{settings.programs}/current", settings.version),
        *wiped(settings, half_made=facts.traces),
        *_placed(plan, secrets, public_key, settings),
        Run(f"{settings.programs}/current/etcdutl", arguments, 300),
        Write(file, config.init_documents(plan, settings)),
        Run(_kubeadm(settings), ("init", "--config", file), settings.init_seconds),
        *gone,
        FreeTurn(),
        Finish(marker),
    ]


def rotate(
    facts: LocalFacts,
    revision: str,
    settings: KubeadmSettings,
    *,
    plan: ClusterPlan | None = None,
    keys: str = "",
    accepted: str = "",
) -> list[Step]:
    """Renews, then restarts what holds its certificate in memory: controller manager and scheduler, whose kubeconfigs
    embed it. API server and etcd read their files anew (k8s.io/apiserver: dynamiccertificates; etcd: transport), and
    never go down for this. `revision`: new with each rotation. `plan`: by whose secrets it is to run from now on, with
    the service accounts' public `keys`; `accepted`: those that are accepted here. The API server reads them once, when
    it starts."""
    if facts.marker is None or not facts.marker.done or facts.marker.role == "worker":
        raise Rejected("this node is not a member of a cluster that has certificates to renew")
    first: list[Step] = [] if plan is None else _service_accounts(plan, facts.marker, keys, accepted)
    renew = Run(_kubeadm(settings), config.renew_command(), 120)
    parts = RestartComponents(layout.EMBEDDED, revision)
    waited = [] if plan is None else [WaitNode(facts.marker.node)]
    return [*first, renew, parts, *waited]


def _service_accounts(plan: ClusterPlan, marker: Marker, keys: str, accepted: str) -> list[Step]:
    """The keys' files, then the API server by them; both it and kubeadm take a file of several public keys. Its
    manifest says by which it was started, so that a crash between the two is made good; where nothing of it was ever
    said, a first generation needs no restart."""
    secrets = checked(plan)
    if (marker.site, marker.epoch) != (plan.site, plan.epoch):
        raise Rejected(f"this node is of {marker.site}, epoch {marker.epoch}, not of {plan.site}, epoch {plan.epoch}")
    if keys == accepted and secrets.generation == 1:
        return []
    said = hashlib.sha256(keys.encode()).hexdigest()[:16]
    return [
        Write(f"{layout.PKI}/sa.key", secrets.service_account_key.encode()),
        Write(layout.ACCEPTED, keys.encode(), 0o644),
        RestartComponents(("kube-apiserver",), f"service-accounts-{said}"),
    ]


def stop(facts: LocalFacts, settings: KubeadmSettings) -> list[Step]:
    """The steps of `stop`; none where there is nothing, or it is stopped. The manifests go first: from then on no boot
    starts etcd. The kubelet stays down by a condition of its unit, which ends with the mark, so with a wipe."""
    if facts.stopped or (facts.marker is None and not facts.traces):
        return []
    mark = f"{settings.state_dir}/{layout.STOPPED}"
    drop_in = f"{STOP_WORDS}\n[Unit]\nConditionPathExists=!{mark}\n"
    return [
        PutAway(),
        Write(layout.KUBELET_DROP_IN, drop_in.encode(), 0o644),
        Write(mark, b""),
        Run("systemctl", ("daemon-reload",), 60),
        Run("systemctl", ("stop", layout.KUBELET_UNIT), 120),
        EndProcesses(),
    ]


def reset(facts: LocalFacts, *, member: EtcdMember | None, settings: KubeadmSettings) -> list[Step]:
    """The steps of `reset`; none where there is nothing. `member`: our own in etcd, where the others can do without."""
    if facts.marker is None and not facts.traces:
        return []
    leave: list[Step] = [] if member is None else [RemoveEtcdMember(member.name, member.ident)]
    return [
        *leave,
        *wiped(settings, half_made=True),
        NameAddress(settings.endpoint_name, ""),
        *([NameAddress(facts.marker.node, "")] if facts.marker else []),
        Remove(config.patches_dir(settings)),
        Remove(settings.run_dir),
        Mark(None),
    ]


def wiped(settings: KubeadmSettings, *, half_made: bool) -> list[Step]:
    """Takes what is on the disk away. kubeadm stops the kubelet and the pods; the rest it leaves to its caller."""
    if not half_made:
        return []
    file = f"{settings.state_dir}/reset.yaml"
    return [
        Write(file, config.reset_documents(settings)),
        Run("systemctl", ("stop", layout.KUBELET_UNIT), 60),
        Run(_kubeadm(settings), ("reset", "--config", file), 180),
        *(Remove(path) for path in layout.LEFT_BY_RESET),
        Remove(layout.KUBELET_DROP_IN),
        Remove(f"{settings.state_dir}/{layout.STOPPED}"),
        Run("systemctl", ("daemon-reload",), 60),
    ]


def _placed(plan: ClusterPlan, secrets: SiteSecrets, public_key: str, settings: KubeadmSettings) -> list[Step]:
    """Name, authorities and patches: all that kubeadm is to find."""
    files: list[Step] = []
    for name, authority in (
        ("ca", secrets.cluster),
        ("etcd/ca", secrets.etcd),
        ("front-proxy-ca", secrets.front_proxy),
    ):
        files.append(Write(f"{layout.PKI}/{name}.crt", authority.cert.encode(), 0o644))
        files.append(Write(f"{layout.PKI}/{name}.key", authority.key.encode()))
    return [
        NameAddress(plan.node, plan.address),
        NameAddress(settings.endpoint_name, plan.address),
        *files,
        Write(f"{layout.PKI}/sa.key", secrets.service_account_key.encode()),
        Write(layout.ACCEPTED, public_key.encode(), 0o644),
        Write(f"{config.patches_dir(settings)}/{config.PATCH}", config.kubelet_patch(settings)),
    ]


def _ghosts(plan: ClusterPlan, seed: SeedFacts) -> list[Step]:
    """What is in the cluster under this node's name or address. It is dead: this node is blank. A member that was
    added and never started has no name, only its address."""
    peer = f"https://{plan.address}:{layout.PEER_PORT}"
    steps: list[Step] = [
        RemoveEtcdMember(one.name or plan.node, one.ident)
        for one in seed.members
        if one.name == plan.node or peer in one.peers
    ]
    if plan.node in seed.nodes:
        steps.append(DeleteNode(plan.node))
    return steps


def _last_phases(file: str, settings: KubeadmSettings) -> list[Step]:
    """What kubeadm does after it has marked the control plane; each phase may be done again."""
    phases = [("bootstrap-token",), ("kubelet-finalize", "all"), ("addon", "coredns"), ("addon", "kube-proxy")]
    return [
        Run(_kubeadm(settings), ("init", "phase", *phase, "--config", file), settings.api_seconds)
        for phase in phases
        if "/".join(phase) not in settings.skip_phases and phase[0] not in settings.skip_phases
    ]


def _marker(plan: ClusterPlan, role: str, version: str) -> Marker:
    return msgspec.convert(
        {"site": plan.site, "epoch": plan.epoch, "node": plan.node, "address": plan.address, "role": role,
         "version": version},
        Marker,
    )  # fmt: skip


def _need_programs(facts: LocalFacts, settings: KubeadmSettings) -> None:
    if settings.version not in facts.versions:
        raise Rejected(f"Kubernetes' programs are not on this node: {settings.programs}/{settings.version}")


def _kubeadm(settings: KubeadmSettings) -> str:
    return f"{settings.programs}/current/kubeadm"
