"""Why a node is where it is: typed reasons with a short text, and the durable record of state and reason. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from agents.contracts.ids import NodeId, SiteId
from agents.contracts.messages import NodeState, State
from edge_commander.states import Event, step

DETAIL_CHARS = 300


class Why(StrEnum):
    """Stable codes, as status and reports show them."""

    NONE = ""
    CONFIG = "waiting: configuration"  # no endpoint is configured
    ENDPOINT = "waiting: endpoint"  # it cannot be reached
    APPROVAL = "waiting: approval"  # the shipping list does not know this device; a person must say
    QUARANTINED = "waiting: a person (quarantined)"  # another key is enrolled for this hardware
    REFUSED = "waiting: a person (refused)"
    KEYS = "waiting: a person (device keys)"  # damaged or gone; new ones are never made silently
    TPM = "waiting: tpm"  # it holds the device keys, and does not answer
    HARDWARE = "waiting: a person (other hardware)"  # this identity belongs to another machine
    ADDRESS = "waiting: a person (address changed)"  # the cluster knows this node at another address
    MOVED = "waiting: wipe (another site)"  # the cloud assigned a node of one site to another
    CLOCK = "waiting: clock"
    SITE = "waiting: site"  # no site document yet, or its roster lacks this node
    API = "waiting: api"  # the cluster's API server does not answer
    MEMBER = "waiting: member"  # the API answers, this node is not in the cluster
    NODE_READY = "waiting: node ready"  # a member, not Ready
    EPOCH = "waiting: a newer roster"  # the roster is of an older epoch than this node has seen
    WIPE = "waiting: wipe (older cluster)"  # the site has begun a newer cluster
    SIBLINGS = "waiting: siblings"  # fewer than a majority of the site answer
    DECISION = "waiting: decision"  # who begins the cluster could not be asked or agreed yet
    SECRETS = "waiting: secrets"  # no sibling that answers has them
    FIRST = "waiting: first server"  # the initialiser's cluster does not stand yet
    TURN = "waiting: turn"  # another node is joining, is upgraded, or renews its certificates
    WHOLE = "waiting: every node ready"  # before a node is upgraded
    VERSION = "waiting: version not on this node"  # the one that was ordered
    STOPPED = "waiting: a person (upgrade stopped)"  # a node did not come back, or the order cannot be carried out
    STARTING = "starting"  # init or join is under way
    DISTRIBUTION = "waiting: a person (distribution)"  # the distribution refuses, it will not pass by itself
    WIPE_FAILED = "waiting: a person (wipe failed)"
    WIPING = "wiping"  # by an operator's command: how far it is


class Reason(msgspec.Struct, frozen=True):
    """A code and what a person should know besides. `detail` must not change while nothing else does."""

    why: Why = Why.NONE
    detail: str = ""

    @property
    def text(self) -> str:
        """Both in one line; empty when there is nothing to wait for."""
        detail = self.detail[:DETAIL_CHARS]
        return f"{self.why.value}: {detail}" if detail and self.why else (self.why.value or detail)


NOTHING = Reason()


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The durable record (`state.json` on ident). `since`: Unix ms when state and reason became what they are.

    `reported`: the outbox holds a message of exactly this. `alerted`: names of damaged files already reported.
    """

    state: NodeState = NodeState.FACTORY
    reason: Reason = NOTHING
    since: Annotated[int, msgspec.Meta(ge=0)] = 0
    reported: bool = False
    node: NodeId | None = None
    site: SiteId | None = None
    alerted: list[str] = []

    def happened(self, event: Event, now_ms: int, reason: Reason = NOTHING) -> NodeRecord:
        """The record after an event; raises IllegalTransition."""
        state = step(self.state, event)
        return msgspec.structs.replace(self, state=state, reason=reason, since=now_ms, reported=False)

    def because(self, reason: Reason, now_ms: int) -> NodeRecord:
        """The record with this reason; itself when the reason is the same, so that `since` tells the truth."""
        if reason == self.reason:
            return self
        return msgspec.structs.replace(self, reason=reason, since=now_ms, reported=False)

    def message(self) -> State:
        """What is reported. The same record gives the same message, so a second one changes nothing."""
        return State(state=self.state, reason=self.reason.text, since=self.since)
