"""The section `edge_commander` of galley.yaml. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from agents.contracts.identity import Role
from agents.core.settings import Listener, Positive
from edge_commander.diagnostics.settings import DiagnosticsSettings
from edge_commander.distribution.k3s.settings import K3sSettings
from edge_commander.distribution.kubeadm.settings import KubeadmSettings
from edge_commander.images.settings import PrepullSettings
from edge_commander.overlay.settings import OverlaySettings

DEFAULT_ROLES: dict[str, Role] = {
    "770": Role.VESSEL,
    "771": Role.HEARTBEAT,
    "772": Role.SYNTHETIC,
    "773": Role.COMMANDER,
}
"""The fixed uids of the image's users."""

Uid = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,8})\Z", description="must be a user's number, in quotes")]
"""A uid as text: keys of our YAML are text (`"770": vessel`)."""

Tcti = Annotated[
    str, msgspec.Meta(pattern=r"^(device|swtpm|mssim|tabrmd)(:.+)?\Z", description="must name a TPM, as tcti(7) has it")
]
"""Such as `device:/dev/tpmrm0`, `swtpm:path=/run/swtpm/sock`."""


class DistributionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`distribution:`. `existing`: a cluster that somebody else formed; `kubeconfig` None means in-cluster.
    `kubeadm`: upstream Kubernetes, formed and kept here; `k3s`: the same by k3s. `access_dir`: kubeconfigs of the
    suite's daemons for the cluster that was formed here, in memory; `kubeconfig` is then not asked for.
    `overlap_hours`: how long, in a rotation, the service accounts' old key is still accepted once all servers sign with
    the new one.
    """

    kind: Literal["existing", "kubeadm", "k3s"] = "existing"
    kubeconfig: str | None = None
    access_dir: str = "/run/galley-access"
    overlap_hours: Annotated[float, msgspec.Meta(ge=0, le=8784)] = 24.0
    kubeadm: KubeadmSettings = KubeadmSettings()
    k3s: K3sSettings = K3sSettings()


Text = Annotated[str, msgspec.Meta(min_length=1)]
Device = Annotated[
    str, msgspec.Meta(pattern=r"^/[-./_0-9A-Za-z]{1,255}\Z", description="must be the absolute path of a block device")
]


class WipeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`wipe:`. Which partition is which logical target, and the journal's. A command never names a device.

    `blank_if`: where this file is there, early boot makes anew, encrypted, what a wipe erased: that is left blank.
    `snapshot`: whether a server keeps a snapshot of the cluster on `keep` before it is wiped. `turn_seconds`: how long
    siblings, the cluster and the endpoint are waited for before a wipe is given up; `drain_seconds`: how long pods may
    take to go; `outbox_seconds`: how long what the daemons have to tell may take to be acknowledged. After either of
    these two the wipe goes on.
    """

    journal: Device = "/dev/disk/by-partlabel/journal"
    var: Device = "/dev/disk/by-partlabel/var"
    conf: Device = "/dev/disk/by-partlabel/conf"
    keep: Device = "/dev/disk/by-partlabel/keep"
    ident: Device = "/dev/disk/by-partlabel/ident"
    blank_if: Device | None = None
    snapshot: Literal["always", "never"] = "always"
    turn_seconds: Positive = 300.0
    drain_seconds: Positive = 120.0
    outbox_seconds: Positive = 60.0


class MachineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`machine:`. `reboot`: the program, and what it is given, that starts the machine anew in order."""

    reboot: Annotated[list[Text], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["systemctl", "reboot"]
    )


class UpdateSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`update:` of the node's image. `root_a`, `root_b`: the two roots; `esp`: where the EFI system partition is
    mounted. `bytes_per_second`: the most that is fetched; 0: as fast as it comes. `trial_seconds`: how long a new image
    may take to be well before it is left again; below the hour after which it is left in any case."""

    root_a: Device = "/dev/disk/by-partlabel/root-a"
    root_b: Device = "/dev/disk/by-partlabel/root-b"
    esp: Device = "/efi"
    bytes_per_second: Annotated[int, msgspec.Meta(ge=0)] = 0
    trial_seconds: Annotated[float, msgspec.Meta(gt=0, le=3000)] = 900.0


class UpgradeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`upgrades:`, one node after another, by an operator's order. `drain_seconds`: how long pods may take to go to
    other nodes before this one is upgraded. `stuck`: where some do not go in time, the upgrade goes on, or stops."""

    drain_seconds: Positive = 120.0
    stuck: Literal["go-on", "stop"] = "go-on"


class CommanderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`edge_commander:`. Every interval in s.

    `keys_dir`: device keys, state, command ledger, site document (the `ident` partition), 0700.
    `keys`: where the two device keys are made: in a `file` in `keys_dir`, in a `tpm`, or (`auto`) in a TPM where there
    is one that can be used, else in a file. Keys that are there stay where they are, whatever `auto` would choose now.
    `tcti`: how the TPM is reached, as tcti(7) has it; `endorsement_key`: which of its keys is shown and listed.
    `enrol_code_file`: the one-time code of the shipping list; read at each enrolment, so it may come late.
    `operators_file`: the first operators' document (`galley operators init`), or JSON `{"v": 1, "operators": [JWK,
    ...]}` with their public Ed25519 keys; it comes with the configuration, never from the endpoint.
    `trust`: whose word makes a member of the site: `operators` (default where `operators_file` is given), or
    `endpoint`. `roster_keys_file`: a JWK or a list of them, the only keys (ES256) that may sign rosters.
    `socket`: default `<node.run_dir>/identity.sock`. `roles`: which uid is which role there.
    `socket_roles`: roles that get a socket of their own, `identity-<role>.sock`, mode 0600, for our own uid:
    for a machine where every daemon runs as one user.
    `siblings`: where the siblings' channel (mutual TLS) listens; this port is also where siblings are looked for,
    unless the roster's address names one. 0 turns the listener off.
    `page`: where galley-lan-page serves what the console shows, read-only and without a secret, over plain http for a
    telephone on the LAN. 0 turns it off.
    `snapshot_seconds`: how often each member takes a snapshot of the cluster by itself; 0: never.
    `hints_file`: where galley-discovery leaves what it heard on the LAN: addresses to try a sibling at that does not
    answer at the roster's; they must prove themselves as everywhere. Empty: no hints are used.
    `image_build`: Unix s before which no clock can be right; `image_build_file` holds the same as text.
    """

    health: Listener = Listener(port=9404)
    siblings: Listener = Listener(bind="0.0.0.0", port=9411)  # noqa: S104 - the LAN's; who may talk is in the roster
    page: Listener = Listener(bind="0.0.0.0", port=9412)  # noqa: S104 - the LAN's; read-only, and holds no secret
    hints_file: str = "/run/galley-discovery/hints.json"
    keys_dir: str = "/var/lib/galley-ident"
    keys: Literal["auto", "file", "tpm"] = "auto"
    tcti: Tcti = "device:/dev/tpmrm0"
    endorsement_key: Literal["ecc", "rsa"] = "ecc"
    enrol_code_file: str | None = None
    operators_file: str | None = None
    trust: Literal["operators", "endpoint"] | None = None
    roster_keys_file: str | None = None
    socket: str = ""
    roles: dict[Uid, Role] = msgspec.field(default_factory=lambda: dict(DEFAULT_ROLES))
    socket_roles: list[Role] = []
    distribution: DistributionSettings = DistributionSettings()
    wipe: WipeSettings = WipeSettings()
    update: UpdateSettings = UpdateSettings()
    overlay: OverlaySettings = OverlaySettings()
    machine: MachineSettings = msgspec.field(default_factory=MachineSettings)
    upgrades: UpgradeSettings = UpgradeSettings()
    prepull: PrepullSettings = PrepullSettings()
    diagnostics: DiagnosticsSettings = DiagnosticsSettings()
    image_build: Annotated[int, msgspec.Meta(ge=0)] = 0
    image_build_file: str | None = None
    enrol_seconds: Positive = 30.0
    site_seconds: Positive = 300.0
    observe_seconds: Positive = 15.0
    command_seconds: Positive = 60.0
    snapshot_seconds: Annotated[float, msgspec.Meta(ge=0)] = 21600.0
