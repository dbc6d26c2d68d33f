"""What is durable about this node's part in a cluster, and what is observed before anything is decided. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import msgspec


class Role(StrEnum):
    """How far this node came. All but NONE and MEMBER are work that was begun: it is written before the work."""

    NONE = "none"
    FORMING = "forming"
    JOINING = "joining"
    RESTORING = "restoring"
    RESTORED = "restored"
    MEMBER = "member"
    RESETTING = "resetting"


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """Kept on `ident`, written ahead. `epoch`: of the cluster that `role` is about; `generation`: of its secrets.

    `begun`: the highest epoch in which this node began, joined or restored a cluster. It survives a reset: no
    second cluster is begun here in an epoch that was begun here.
    """

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    site: str = ""
    node: str = ""
    epoch: int = 0
    generation: int = 1
    role: Role = Role.NONE
    begun: int = 0


@dataclass(frozen=True)
class Facts:
    """One look at this host. `etcd`: k3s' write-ahead log is there, which is what k3s itself looks for.

    `have`: for each kept file that is there, `mode:sha256`. `trees`: paths of k3s that exist. `active`: the unit runs
    or starts. `answering`: those of the plan's servers that accept connections now. `images`: archive's name to
    whether k3s has it already, of the same size.
    """

    marker: Marker = field(default_factory=Marker)
    etcd: bool = False
    have: Mapping[str, str] = field(default_factory=dict)
    trees: frozenset[str] = frozenset()
    active: bool = False
    enabled: bool = False
    answering: tuple[str, ...] = ()
    images: Mapping[str, bool] = field(default_factory=dict)
