"""What people and devices ask of the API, where agents/contracts does not say it. Pure."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.command import Verb
from agents.contracts.diagnostics import MAX_BUNDLE, Sha256
from agents.contracts.identity import AtlasSource, Election, Epoch, Scope
from agents.contracts.ids import NAME_PATTERN, SITE_PATTERN, SiteId
from agents.contracts.messages import Short, Text
from agents.contracts.orders import SiteOrder
from agents.contracts.signed import SignedDocument

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
"""A Kubernetes node name or an operator's name: a DNS label, dots allowed."""
Limit = Annotated[int, msgspec.Meta(ge=1, le=1000)]
LineId = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
"""The id of a stored line. More than that no reader of JSON holds exactly, and past 2**63 no store takes."""


class Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """People's requests: a misspelt field is an error."""


class TokenForm(Struct, frozen=True, kw_only=True):
    """`application/x-www-form-urlencoded`, RFC 6749 section 4.4 and RFC 7523 section 2.2."""

    grant_type: str
    client_assertion_type: str
    client_assertion: str
    scope: str = ""


class CommandsQuery(Strict, frozen=True, kw_only=True):
    """`after`: the highest sequence the node has used. `wait`: s to wait for one."""

    after: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 2)] = 0
    wait: Annotated[float, msgspec.Meta(ge=0, le=25)] = 0


class SiteQuery(Strict, frozen=True, kw_only=True):
    """`site`: that one alone."""

    site: Annotated[str, msgspec.Meta(pattern=f"^$|{SITE_PATTERN}")] = ""


class SiteDocumentQuery(Strict, frozen=True, kw_only=True):
    """`operators_after`: the generation of the newest operators' document that the node has."""

    operators_after: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0


class OperatorsQuery(Strict, frozen=True, kw_only=True):
    """`orphans`: `allow` where entries may lose their signer's key with this document."""

    orphans: Annotated[str, msgspec.Meta(pattern="^(refuse|allow)$")] = "refuse"


class GenerationAbove(Strict, frozen=True, kw_only=True):
    """`above`: the highest generation that a node of the site has seen."""

    above: Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class PageQuery(Strict, frozen=True, kw_only=True):
    """`before`: the id of the last line seen."""

    before: LineId | None = None
    limit: Limit = 100


class HistoryQuery(Strict, frozen=True, kw_only=True):
    """`kind`: of message; `key`: one app, scenario or code."""

    kind: Annotated[str, msgspec.Meta(pattern="^[a-z-]{1,32}$")]
    key: Short | None = None
    before: LineId | None = None
    limit: Limit = 100


class EventsQuery(Strict, frozen=True, kw_only=True):
    """`after`: the `id` of the overview or event that the reader has."""

    after: Annotated[str, msgspec.Meta(max_length=64)] = ""


class SitePut(Strict, frozen=True, kw_only=True):
    """The whole of what an operator says about a site. `election`: None leaves it; a new site's is the cloud's."""

    labels: Annotated[dict[Short, Short], msgspec.Meta(max_length=64)] = {}
    atlas: AtlasSource | None = None
    election: Election | None = None


class EpochPut(Strict, frozen=True, kw_only=True):
    """The site's next epoch: a new cluster, whose members are all wiped. `election`: None for as before.
    `authorisation`: the operator's signature, a JWS that nodes verify. `restore`: the cluster is made of a snapshot of
    the older one; where operators sign, their authorisation must say the same."""

    to: Epoch
    election: Election | None = None
    authorisation: Text = ""
    restore: bool = False


class OrderPut(Strict, frozen=True, kw_only=True):
    """An order, as an operator signed it, or (`order`) for the endpoint to sign, where it knows no operators: one of
    the two."""

    signed: SignedDocument | None = None
    order: SiteOrder | None = None


class Ship(Strict, frozen=True, kw_only=True):
    """One device for the shipping list. `proof`: `code`, `approval` or `tpm`. `code`: empty to have one made (better).
    `ek_hash`, with `tpm` and never else: SHA-256 of the endorsement key, as `edge-commander hardware` shows it.
    `entry`: the same, signed by an operator (agents.contracts.trust.ShippingEntry)."""

    hardware_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"\S")]
    site: SiteId
    name: Name
    address: Short = ""
    proof: Annotated[str, msgspec.Meta(pattern="^(code|approval|tpm)$")] = "code"
    code: Annotated[str, msgspec.Meta(pattern="^$|^[!-~]{12,128}$")] = ""
    ek_hash: Annotated[str, msgspec.Meta(pattern="^$|^[0-9a-f]{64}$")] = ""
    entry: SignedDocument | None = None


class Approve(Strict, frozen=True, kw_only=True):
    """Where the device is not on the shipping list: its site and node name."""

    site: SiteId | None = None
    name: Name | None = None


class OperatorAdd(Strict, frozen=True, kw_only=True):
    """Public keys alone. `site`: None for all sites."""

    name: Name
    key: dict[str, Any]
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=8)]
    command_key: dict[str, Any] | None = None
    site: SiteId | None = None


class CommandAsk(Strict, frozen=True, kw_only=True):
    """A command for the endpoint to sign: one of its four verbs. `valid_seconds`: until it expires."""

    verb: Verb
    args: Annotated[dict[Short, Short], msgspec.Meta(max_length=16)] = {}
    valid_seconds: Annotated[int, msgspec.Meta(ge=10, le=86400)] = 3600


class PieceQuery(Strict, frozen=True, kw_only=True):
    """`offset`: of the piece in its bundle; `sha256`: of the piece, in hex."""

    offset: Annotated[int, msgspec.Meta(ge=0, le=MAX_BUNDLE)]
    sha256: Sha256
