"""Roles, scopes, tokens, enrolment and the site document. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.ids import NodeId, SiteId
from agents.contracts.messages import Short, Text
from agents.contracts.signed import SignedDocument

Jwk = dict[str, Any]
"""A public key, RFC 7517. Never holds `d`."""
KID_PATTERN = r"^[A-Za-z0-9_-]{43}$"
MAX_VOTERS = 15


class Scope(StrEnum):
    """What a token may do."""

    HEARTBEAT_WRITE = "heartbeat:write"
    SYNTHETIC_WRITE = "synthetic:write"
    DEPLOY_REPORT = "deploy:report"
    COMMAND_READ = "command:read"
    FLEET_READ = "fleet:read"
    FLEET_DEPLOY = "fleet:deploy"
    REMEDY_EXECUTE = "remedy:execute"
    ADMIN = "admin"


class Role(StrEnum):
    """Who asks at the identity socket, by uid (SO_PEERCRED)."""

    HEARTBEAT = "heartbeat"
    VESSEL = "vessel"
    SYNTHETIC = "synthetic"
    COMMANDER = "commander"


ROLE_SCOPES: dict[Role, frozenset[Scope]] = {
    Role.HEARTBEAT: frozenset({Scope.HEARTBEAT_WRITE}),
    Role.VESSEL: frozenset({Scope.DEPLOY_REPORT}),
    Role.SYNTHETIC: frozenset({Scope.SYNTHETIC_WRITE}),
    Role.COMMANDER: frozenset({Scope.COMMAND_READ}),
}
DEVICE_SCOPES: frozenset[Scope] = frozenset().union(*ROLE_SCOPES.values())
"""All that any device may ever hold; people's scopes (`fleet:*`, `remedy:execute`, `admin`) are outside it."""


class EnrolRequest(Struct, frozen=True, kw_only=True):
    """`POST /v1/enrol`. `proof` is a JWS (compact, ES256, key = `signing`) over
    `{aud: issuer, iat, hardware_id, sealing: thumbprint}`: possession of the signing key.
    `code`: the one-time code of the shipping list, where that is the proof.
    A device whose keys are in a TPM gives `ek`, its endorsement key's SubjectPublicKeyInfo, and `key_public`, the
    signing key's TPM2B_PUBLIC; `challenge_answer`: what its TPM found in the answer's `challenge`. All base64url."""

    v: int = 1
    hardware_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    signing: Jwk
    sealing: Jwk
    proof: Text
    code: Short = ""
    hardware: Short = ""
    hostname: Short = ""
    ek: Text = ""
    key_public: Text = ""
    challenge_answer: Short = ""


class EnrolStatus(StrEnum):
    """The cloud's word on a device."""

    ENROLLED = "enrolled"
    PENDING = "pending"  # unknown: waits for a person
    QUARANTINED = "quarantined"  # a second key for an enrolled id
    REFUSED = "refused"
    CHALLENGE = "challenge"  # ask again with what the TPM finds in it


class EnrolAnswer(Struct, frozen=True, kw_only=True):
    """The cloud's answer; `site` only when enrolled. `retry_after` in s. `challenge`, with that status alone: a
    TPM2B_ID_OBJECT and a TPM2B_ENCRYPTED_SECRET, base64url; it is good for one answer within five minutes."""

    v: int = 1
    status: EnrolStatus
    node: NodeId
    site: SiteId | None = None
    reason: Text = ""
    retry_after: float = 30.0
    server_time: int
    challenge: Text = ""


class TokenAnswer(Struct, frozen=True, kw_only=True):
    """RFC 6749 section 5.1. `expires_in` in s."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the type's name, not a secret
    expires_in: int
    scope: str

    def __repr__(self) -> str:
        return f"TokenAnswer(expires_in={self.expires_in}, scope={self.scope!r})"


class Member(Struct, frozen=True, kw_only=True):
    """One node of the roster. `address` on the LAN, `name`: its Kubernetes Node's name."""

    node: NodeId
    name: Short
    address: Short = ""
    signing: Jwk = {}
    sealing: Jwk = {}


class AtlasSource(Struct, frozen=True, kw_only=True):
    """Where the site's Atlas lies. `credential`: `none`, `file:<path>` or `endpoint`."""

    url: Text
    branch: Short = "main"
    path: Short = "."
    credential: Text = "none"


class Election(StrEnum):
    """Who decides which node runs the one `cluster-init` of an epoch: the endpoint, or the voters among themselves."""

    CLOUD = "cloud"
    OFFLINE = "offline"


class Voter(Struct, frozen=True, kw_only=True):
    """One that votes in an offline election: a node with the signing key (`kid`: its thumbprint, RFC 7638) that it had
    when the epoch's voters were fixed. The same node with another key is another one, and does not vote."""

    node: NodeId
    kid: Annotated[str, msgspec.Meta(pattern=KID_PATTERN)]


Epoch = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
"""Counts a site's clusters, from 1. Each has at most one `cluster-init`, ever."""


class SiteDocument(Struct, frozen=True, kw_only=True):
    """`GET /v1/site`, at the cloud and at the identity socket: what a node must know of its site.

    `command_keys`: public keys (ES256) with which this endpoint signs the commands that it may sign itself.
    `election`, `restore` (the cluster is made of a snapshot): of this `epoch`, they never change within one.
    `voters`: fixed once an epoch, empty until they are (and
    where the cloud decides). `epoch_authorisation`: the operator's signature (a JWS) that raised the epoch, where any.
    `roster_jws`: the same roster, signed (`trust.Roster`), by one of `roster_keys`. `operators`: signed operators'
    documents, ascending, above the generation that was asked for. `orders`: signed `orders.SiteOrder`s for this epoch,
    the newest of each kind.
    """

    v: int = 1
    generation: int
    site: SiteId
    node: NodeId
    labels: dict[Short, Short]
    roster: list[Member]
    endpoints: list[Text]
    atlas: AtlasSource | None = None
    command_keys: list[Jwk] = []
    epoch: Epoch = 1
    election: Election = Election.CLOUD
    voters: Annotated[list[Voter], msgspec.Meta(max_length=MAX_VOTERS)] = []
    epoch_authorisation: Text = ""
    restore: bool = False
    roster_jws: SignedDocument | None = None
    roster_keys: Annotated[list[Jwk], msgspec.Meta(max_length=8)] = []
    operators: list[SignedDocument] = []
    orders: Annotated[list[SignedDocument], msgspec.Meta(max_length=8)] = []


class GitCredential(Struct, frozen=True, kw_only=True):
    """`GET /v1/git-credential`: short-lived, for that host only. `expires_in` in s."""

    host: Short
    username: Short
    password: Text
    expires_in: int

    def __repr__(self) -> str:
        return f"GitCredential(host={self.host!r})"
