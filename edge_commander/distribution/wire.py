"""What Edge Commander asks of the root half of a distribution, one request a connection. Pure.

Commander has no privileges; what forms a cluster needs root. The list of what may be asked is closed: the port's
operations, and `settle`, which gives the suite's daemons their rights and kubeconfigs once a node is a member; and of
the node's containerd which `images` it has, and to `pull` one.
"""

from __future__ import annotations

import re

import msgspec

from agents.contracts.ids import is_site_id
from agents.contracts.images import normal
from edge_commander.distribution.port import ClusterPlan, Operation

SETTLE = "settle"
IMAGES = "images"
PULL = "pull"
ARGUMENTS: dict[str, str] = {
    Operation.REMOVE: "a member's name",
    Operation.SNAPSHOT: "its name",
    Operation.RESTORE: "a snapshot",
    Operation.UPGRADE: "a version",
    PULL: "an image",
}
"""Operations that take one text."""
PLANNED = frozenset({Operation.INIT.value, Operation.JOIN.value, Operation.RESTORE.value, SETTLE})
"""Operations that take a plan."""
MAY_BE_PLANNED = frozenset({Operation.ROTATE.value})
"""Operations that take a plan or none."""
WORKERS = frozenset({Operation.JOIN.value, SETTLE})
"""Of these, what a worker's plan is for: it never begins a cluster."""
ASKED = frozenset({*(one.value for one in Operation), SETTLE, IMAGES, PULL})
NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
"""A Node's name (RFC 1123): it becomes part of paths and of lines in files that root writes."""
HOST = re.compile(r"[-.:0-9A-Za-z]{1,253}")
"""An address or a host's name."""


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request. `repr` shows no plan: it holds the site's secrets."""

    v: int = 1
    operation: str
    argument: str = ""
    plan: ClusterPlan | None = None

    def __repr__(self) -> str:
        return f"Ask(operation={self.operation!r}, argument={self.argument!r})"


def problem(ask: Ask) -> str:
    """Why a request is not one of the closed list, or has not the parts that it needs; empty when it is well."""
    if ask.operation not in ASKED:
        return "no such operation"
    if text := _unfit_argument(ask):
        return text
    if (ask.plan is not None) != (ask.operation in PLANNED) and ask.operation not in MAY_BE_PLANNED:
        return f"{ask.operation} takes {'a' if ask.operation in PLANNED else 'no'} plan"
    if ask.plan is not None and ask.plan.access is not None and ask.operation not in WORKERS:
        return f"{ask.operation} is not for a worker"
    return _unfit(ask.plan) if ask.plan is not None else ""


def _unfit_argument(ask: Ask) -> str:
    if bool(ask.argument) != (ask.operation in ARGUMENTS):
        return f"{ask.operation} takes {ARGUMENTS.get(ask.operation, 'no argument')}"
    if ask.operation == Operation.REMOVE and NAME.fullmatch(ask.argument) is None:
        return "remove takes a member's name, such as nuc-1"
    if ask.operation == PULL and normal(ask.argument) != ask.argument:
        return "pull takes an image's whole name, such as docker.io/library/nginx:1.27"
    return ""


def _unfit(plan: ClusterPlan) -> str:
    """What of a plan is not what it must be; no text of a plan goes into a file of root's as anything else."""
    if not is_site_id(plan.site) or plan.epoch < 1:
        return "the plan names no site or no epoch"
    if plan.secrets is not None and plan.access is not None:
        return "a worker holds no secrets of the site"
    if NAME.fullmatch(plan.node) is None:
        return "the plan's node is no Node's name"
    if any(HOST.fullmatch(one) is None for one in (*plan.servers, *filter(None, (plan.address,)))):
        return "one of the plan's addresses is none"
    return ""
