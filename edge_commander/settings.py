"""The section `edge_commander` of galley.yaml. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from agents.contracts.identity import Role
from agents.core.settings import Listener, Positive
from edge_commander.distribution.kubeadm.settings import KubeadmSettings

DEFAULT_ROLES: dict[str, Role] = {
    "770": Role.VESSEL,
    "771": Role.HEARTBEAT,
    "772": Role.SYNTHETIC,
    "773": Role.COMMANDER,
}
"""The fixed uids of the image's users."""

Uid = Annotated[str, msgspec.Meta(pattern="^(0|[1-9][0-9]{0,8})$", description="must be a user's number, in quotes")]
"""A uid as text: keys of our YAML are text (`"770": vessel`)."""


class DistributionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`distribution:`. `existing`: a cluster that somebody else formed; `kubeconfig` None means in-cluster.
    `kubeadm`: upstream Kubernetes, formed and kept by us."""

    kind: Literal["existing", "kubeadm"] = "existing"
    kubeconfig: str | None = None
    kubeadm: KubeadmSettings = KubeadmSettings()


class CommanderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`edge_commander:`. Every interval in s.

    `keys_dir`: device keys, state, command ledger, site document (the `ident` partition), 0700.
    `enrol_code_file`: the one-time code of the shipping list; read at each enrolment, so it may come late.
    `operators_file`: JSON `{"v": 1, "operators": [JWK, ...]}`, the operators' public Ed25519 keys for commands; it
    comes with the configuration, never from the endpoint.
    `socket`: default `<node.run_dir>/identity.sock`. `roles`: which uid is which role there.
    `socket_roles`: roles that get a socket of their own, `identity-<role>.sock`, mode 0600, for our own uid:
    for a machine where every daemon runs as one user.
    `image_build`: Unix s before which no clock can be right; `image_build_file` holds the same as text.
    """

    health: Listener = Listener(port=9404)
    keys_dir: str = "/var/lib/galley-ident"
    enrol_code_file: str | None = None
    operators_file: str | None = None
    socket: str = ""
    roles: dict[Uid, Role] = msgspec.field(default_factory=lambda: dict(DEFAULT_ROLES))
    socket_roles: list[Role] = []
    distribution: DistributionSettings = DistributionSettings()
    image_build: Annotated[int, msgspec.Meta(ge=0)] = 0
    image_build_file: str | None = None
    enrol_seconds: Positive = 30.0
    site_seconds: Positive = 300.0
    observe_seconds: Positive = 15.0
    command_seconds: Positive = 60.0
