"""`vessel:` of galley.yaml. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

from agents.contracts.identity import AtlasSource
from agents.core.settings import Listener, Positive
from vessel.prune import PrunePolicy

Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Concurrency = Annotated[int, msgspec.Meta(ge=1, le=64)]


class AtlasSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the Atlas lies. `credential`: `none`, `file:<path>` (one line `user:password`) or `endpoint`."""

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    branch: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] = "main"
    path: Annotated[str, msgspec.Meta(max_length=4096)] = "."
    credential: Annotated[str, msgspec.Meta(pattern=r"^(none|endpoint|file:.+)\Z")] = "none"

    def source(self) -> AtlasSource:
        """As the wire type."""
        return AtlasSource(url=self.url, branch=self.branch, path=self.path, credential=self.credential)


class PruneSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of an app may be deleted without a person's word."""

    max_percent: Percent = 50.0
    max_count: Annotated[int, msgspec.Meta(ge=0)] = 100

    def policy(self) -> PrunePolicy:
        """As the value that decides."""
        return PrunePolicy(self.max_percent, self.max_count)


class PrepullSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether a commit's images are named to the nodes before it is applied. `background`: they are, and it goes on;
    `wait`: until the nodes have them, at most `wait_seconds`. Nodes pull where Edge Commander formed the cluster."""

    mode: Annotated[str, msgspec.Meta(pattern=r"^(off|background|wait)\Z")] = "off"
    wait_seconds: Positive = 600.0


class VesselSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`atlas`: None: from the identity socket. `kubeconfig`: None: the pod's own account. `identity`: the lease
    holder's name, empty: the node id. `identity_socket`: default `<run_dir>/identity.sock`. `git_ca_file`: PEM of the
    authorities that may vouch for the Git server, instead of the system's. `bootstrap`: make what Vessel needs in the
    cluster where it is missing and allowed. `webhook_without_dry_run`: whether an object passes that an admission
    webhook cannot judge in advance."""

    atlas: AtlasSettings | None = None
    kubeconfig: str | None = None
    poll_seconds: Positive = 30.0
    kubectl: str = "kubectl"
    mode: Annotated[str, msgspec.Meta(pattern=r"^(unit|pod)\Z")] = "unit"
    identity: Annotated[str, msgspec.Meta(max_length=256)] = ""
    identity_socket: str = ""
    git_ca_file: str = ""
    concurrency: Concurrency = 8
    bootstrap: bool = True
    webhook_without_dry_run: Annotated[str, msgspec.Meta(pattern=r"^(refuse|skip)\Z")] = "refuse"
    prune: PruneSettings = PruneSettings()
    prepull: PrepullSettings = PrepullSettings()
    health: Listener = Listener(port=9401)
