"""What siblings say to one another on 9411 about forming the cluster; their election is in election.py. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.ids import NodeId
from agents.contracts.messages import Short, Text

Epoch = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class Stage(StrEnum):
    """How far a node is with the cluster of an epoch."""

    NONE = "none"  # nothing is decided
    DECIDED = "decided"  # who initialises is known, and this node's part with it
    STARTED = "started"  # init or join was begun: from here on it is never begun as anything else
    MEMBER = "member"  # it was a member once


class FormationStatus(Struct, frozen=True, kw_only=True):
    """`GET /v1/formation` between siblings. `initialiser` empty: not decided. `secrets`: it holds the epoch's.
    `generation`: of the roster that it believes; 0: not told. `holds`: generation of the site's secrets on its disk;
    `runs`: that by which its servers run; `renewing`: it took a turn to renew, and has not ended it. `snapshot`: its
    newest one, as text that sorts by age, `-` for none; empty where it has not looked. `now`: the time that it
    believes, Unix ms; 0: not told."""

    v: int = 1
    node: NodeId
    epoch: Epoch
    stage: Stage
    initialiser: Annotated[str, msgspec.Meta(max_length=64)] = ""
    secrets: bool = False
    generation: Annotated[int, msgspec.Meta(ge=0)] = 0
    holds: Annotated[int, msgspec.Meta(ge=0)] = 0
    runs: Annotated[int, msgspec.Meta(ge=0)] = 0
    renewing: bool = False
    snapshot: Short = ""
    now: Annotated[int, msgspec.Meta(ge=0)] = 0


class SlotRequest(Struct, frozen=True, kw_only=True):
    """`POST /v1/join-slot`: may I join now? `fresh`: nothing of a cluster is on this disk, so that a member of the
    same name is a ghost and is to be taken out first."""

    v: int = 1
    epoch: Epoch
    fresh: bool


class SlotAnswer(Struct, frozen=True, kw_only=True):
    """`granted`, with the LAN addresses of Ready servers; or the name of the node whose turn it is, or why not."""

    v: int = 1
    granted: bool
    servers: Annotated[list[Short], msgspec.Meta(max_length=16)] = []
    holder: Short = ""
    reason: Text = ""


class AccessRequest(Struct, frozen=True, kw_only=True):
    """`POST /v1/worker-access`, of a worker to a member: sign this public key for me. `key`: SubjectPublicKeyInfo, PEM,
    P-256; its private half never leaves the worker."""

    v: int = 1
    epoch: Epoch
    key: Annotated[str, msgspec.Meta(max_length=1024)]


class AccessAnswer(Struct, frozen=True, kw_only=True):
    """Certificates for that key, and the authority that they and the API servers are of; all PEM, nothing secret.

    `kubelet`: as the node that the roster names, for two hours: the kubelet asks for its own with it. `commander`: may
    look at Nodes, nothing else.
    """

    v: int = 1
    authority: str
    kubelet: str
    commander: str
