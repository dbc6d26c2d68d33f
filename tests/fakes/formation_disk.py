"""What outlives a process of a simulated site: a node's disks, and the cluster of an epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_commander.distribution.port import Snapshot
from edge_commander.formation.record import Record
from edge_commander.formation.slot import Held
from edge_commander.secrets.model import Authority, SiteSecrets

FAKE = Authority(cert="cert", key="key")


class Crash(BaseException):
    """The power is gone at this very point."""


def secrets_of(site: str, epoch: int, mark: int) -> SiteSecrets:
    return SiteSecrets(
        site=site, epoch=epoch, cluster=FAKE, etcd=FAKE, front_proxy=FAKE, service_account_key="k", token=f"{mark:064x}"
    )


@dataclass
class Cluster:
    """What exists in the site for one epoch. `inits`: each init that was begun, by node."""

    inits: list[str] = field(default_factory=list)
    members: dict[str, int] = field(default_factory=dict)  # Node's name to the token's mark it joined with
    joining: set[str] = field(default_factory=set)
    most_joining: int = 0
    holder: Held = field(default_factory=Held)
    restored: set[str] = field(default_factory=set)  # the snapshots that it was made of


@dataclass
class Disk:
    """`ident` and `var` of one node."""

    record: Record = field(default_factory=Record)
    secrets: SiteSecrets | None = None
    copy: Record | None = None  # of the record, on var
    lost: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)  # epochs whose init the ballot box has as done
    began: tuple[str, int] | None = None  # the distribution's own marker, on var
    runs: bool = False  # the cluster's part here is up, and comes back at a boot
    snapshots: list[Snapshot] = field(default_factory=list)  # on keep
    lives: dict[int, str] = field(default_factory=dict)  # the number drawn for each epoch

    def wipe_var(self) -> None:
        self.secrets, self.began, self.copy, self.runs = None, None, None, False
