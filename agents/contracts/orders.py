"""Orders of operators to a whole site: which Kubernetes it is to run, and that its secrets are to be changed. Pure.

An order travels as a `SignedDocument` in the site document, the newest of each kind. It is no command to one node:
the site's nodes carry it out among themselves, in turn, and one that comes back later finds it still there.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.identity import Epoch
from agents.contracts.ids import RELEASE_PATTERN, SiteId
from agents.contracts.trust import Number, UnixSeconds, Version

Release = Annotated[str, msgspec.Meta(pattern=RELEASE_PATTERN)]
"""Of Kubernetes, as its distribution writes it: `1.36.3`, `v1.36.3+k3s1`."""


class OrderKind(StrEnum):
    """What is ordered."""

    UPGRADE = "upgrade"
    ROTATE = "rotate"


class SiteOrder(Struct, frozen=True, kw_only=True):
    """`number` rises with each order of a site, of whatever kind. `epoch`: of the cluster that it is for; with that
    cluster's end the order ends. `version`: for `upgrade` alone. `generation`: for `rotate` alone, of the secrets that
    are to come of it; 0: the next one. `issued_at`: Unix s."""

    v: Version = 1
    site: SiteId
    epoch: Epoch
    kind: OrderKind
    number: Number
    version: Release = ""
    generation: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 0
    issued_at: UnixSeconds
