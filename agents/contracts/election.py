"""Who may run `cluster-init`: what siblings ask one another (single-decree Paxos), and the endpoint's grant. Pure.

Source of the rules: L. Lamport, "Paxos Made Simple" (2001), one decree for each site and epoch. The value is the
node id of the initialiser. Requests travel between siblings over the mutual TLS channel, which says who asks.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Union

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.identity import Epoch
from agents.contracts.ids import NodeId, SiteId

PATH = "/v1/election"
"""Of the siblings' channel: `POST`, an ElectionRequest, answered by an ElectionAnswer."""
MAX_ROUND = 2**31 - 1
Version = Annotated[int, msgspec.Meta(ge=1, le=1)]
VotersDigest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
"""SHA-256 over the epoch's voters: both sides must mean the same ones."""


class Ballot(Struct, frozen=True, kw_only=True, order=True):
    """Number of one attempt, ordered by round, then node. A node uses each of its ballots for one value alone."""

    round: Annotated[int, msgspec.Meta(ge=1, le=MAX_ROUND)]
    node: NodeId


class Vote(Struct, frozen=True, kw_only=True):
    """An acceptor took `value` in `ballot`."""

    ballot: Ballot
    value: NodeId


class _Asked(Struct, frozen=True, kw_only=True, tag_field="kind"):
    v: Version = 1
    site: SiteId
    epoch: Epoch
    voters: VotersDigest


class Query(_Asked, frozen=True, kw_only=True, tag="query"):
    """What do you know? Changes nothing."""


class Prepare(_Asked, frozen=True, kw_only=True, tag="prepare"):
    """Phase 1: promise to take nothing below this ballot, and say what you took."""

    ballot: Ballot


class Accept(_Asked, frozen=True, kw_only=True, tag="accept"):
    """Phase 2: take this value."""

    ballot: Ballot
    value: NodeId


class Learn(_Asked, frozen=True, kw_only=True, tag="learn"):
    """It is decided: a majority took this value in one ballot."""

    value: NodeId


ElectionRequest = Union[Query, Prepare, Accept, Learn]  # noqa: UP007 - msgspec wants a type it can name


class Verdict(StrEnum):
    """What an acceptor did with a request."""

    OK = "ok"  # promised, taken, noted; a query answered
    OUTBID = "outbid"  # `promised` is a higher ballot
    FENCED = "fenced"  # it knows a later epoch, and says nothing of this one
    BEHIND = "behind"  # it has not seen this epoch's roster yet
    MUTE = "mute"  # it does not vote in this epoch: its memory of it is gone, or it is none of the voters
    MISMATCH = "mismatch"  # another site, other voters, not an offline election, or not a voter who asks


class ElectionAnswer(Struct, frozen=True, kw_only=True):
    """`epoch`: the highest that the acceptor knows. The rest is of the epoch asked for, and empty where `verdict` is
    `fenced`, `behind` or `mismatch`."""

    v: int = 1
    epoch: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
    verdict: Verdict
    promised: Ballot | None = None
    accepted: Vote | None = None
    decided: NodeId | None = None


class InitAsk(Struct, frozen=True, kw_only=True):
    """`POST /v1/init-grant`. `want` False: only says who holds it. `begins`: the grantee is about to begin; a number
    that it drew for this, and that lies on its disk. The first one stands."""

    v: Version = 1
    epoch: Epoch
    want: bool = True
    begins: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{32})?$")] = ""


class InitGrant(Struct, frozen=True, kw_only=True):
    """Who may run the one `cluster-init` of this site and epoch: first come, for ever. `node` None: nobody yet.
    `yours`: the one who asked, with the very signing key that it was granted to. `granted_ms`: Unix ms. `begun`: it
    said that it begins; `same`: with the very number that is asked with now."""

    v: int = 1
    site: SiteId
    epoch: Epoch
    node: NodeId | None = None
    yours: bool = False
    granted_ms: int = 0
    begun: bool = False
    same: bool = False
