"""What the cloud's answer to an enrolment means for the node, and how long to wait. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from agents.contracts.identity import EnrolAnswer, EnrolStatus
from agents.contracts.ids import NodeId, SiteId
from edge_commander.reasons import NOTHING, Reason, Why

MIN_RETRY, MAX_RETRY = 1.0, 3600.0
_WAITS_FOR = {
    EnrolStatus.PENDING: Why.APPROVAL,
    EnrolStatus.QUARANTINED: Why.QUARANTINED,
    EnrolStatus.CHALLENGE: Why.TPM,  # it was answered, and too late: it is asked again
}


@dataclass(frozen=True)
class Verdict:
    """What an enrolment answer means. `retry_after` in s, for those that are not enrolled."""

    enrolled: bool
    node: NodeId
    site: SiteId | None
    reason: Reason
    retry_after: float


def judge(answer: EnrolAnswer, node: NodeId, known_site: SiteId | None) -> Verdict:
    """Reads the cloud's word. `node`: as derived from the hardware; `known_site`: where the node is already.

    An answer for another node, or one that moves an assigned node, is never followed.
    """
    retry = min(MAX_RETRY, max(MIN_RETRY, answer.retry_after))
    if answer.node != node:
        return _waits(node, Reason(Why.REFUSED, f"the endpoint answered for {answer.node}"), retry)
    if answer.status is not EnrolStatus.ENROLLED or answer.site is None:
        why = _WAITS_FOR.get(answer.status, Why.REFUSED)
        return _waits(node, Reason(why, answer.reason or "the endpoint named no site"), retry)
    if known_site is not None and answer.site != known_site:
        return _waits(node, Reason(Why.MOVED, f"assigned to {answer.site}, this node is of {known_site}"), retry)
    return Verdict(enrolled=True, node=node, site=answer.site, reason=NOTHING, retry_after=retry)


def _waits(node: NodeId, reason: Reason, retry: float) -> Verdict:
    return Verdict(enrolled=False, node=node, site=None, reason=reason, retry_after=retry)
