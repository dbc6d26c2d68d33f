"""A host's own disk: journal, ident, keep, conf and var as block devices, mounted by its systemd. Needs root.

`conf` holds what is changed in /etc (an overlay's upper), `var` is /var, `ident` and `keep` are mounted below it, and
galley-wipe.service comes before all of them. What the tests lay on the host's root is the image's side.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from edge_commander.wipe.disk import Disk
from edge_commander.wipe.journal import Journal
from edge_commander.wipe.record import WipeRecord
from tests.site_in_a_box.journal_look import JournalLook
from tests.site_in_a_box.node_disk import NodeDisk, run

SIZES = {"journal": 1, "ident": 16, "keep": 256, "conf": 32, "var": 2560}
"""MiB. Files are sparse: a host of a cluster uses about 1 GiB of `var`."""
BY_LABEL = "/dev/disk/by-partlabel"
CONF = "/run/galley-conf"
IDENT, KEEP = "/var/lib/galley-ident", "/var/lib/galley-keep"
MOUNTED = {"conf": CONF, "var": "/var", "ident": IDENT, "keep": KEEP}
UNITS = "/etc/systemd/system"
FOLDERS = "galley-conf-folders.service"

MOUNT = """\
[Unit]
Description={name} of this node

[Mount]
What={what}
Where={where}
Type={kind}
Options={options}
"""

FOLDERS_UNIT = f"""\
[Unit]
Description=Folders on a new conf
DefaultDependencies=no
RequiresMountsFor={CONF}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/mkdir -p -m 0755 {CONF}/etc/upper {CONF}/etc/work
"""

ETC_DEPENDS = f"""\
[Unit]
Requires={FOLDERS}
After={FOLDERS}
"""


class HostDisk:
    """`folder`: gets the disk's image; `sizes` in MiB by label, where they are others than SIZES. Closed by `close`."""

    def __init__(self, folder: Path, sizes: Mapping[str, int] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.disk = NodeDisk(folder, {**SIZES, **(sizes or {})})
        self.disk.__enter__()
        try:
            for name in MOUNTED:
                run("mkfs.ext4", "-q", "-F", "-L", name, str(self.disk.device[name]))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Gives the loop devices back; the host must be off."""
        self.disk.__exit__()

    def options(self) -> list[str]:
        """systemd-nspawn's, that show the devices to the guest by the names that a NUC's udev gives them."""
        return [f"--bind={device}:{BY_LABEL}/{name}" for name, device in self.disk.device.items()]

    def lay(self, upper: Path) -> None:
        """The mount units and the wipe's, enabled, on a host's root that holds the suite already."""
        units = upper / UNITS.lstrip("/")
        wanted = units / "local-fs.target.wants"
        wanted.mkdir(parents=True, exist_ok=True)
        files = mount_units()
        for name, text in files.items():
            (units / name).parent.mkdir(exist_ok=True)
            (units / name).write_text(text)
            if name.endswith(".mount"):
                (wanted / name).symlink_to(f"{UNITS}/{name}")
        run("systemctl", f"--root={upper}", "--quiet", "enable", "galley-wipe.service")

    @property
    def record(self) -> WipeRecord | None:
        """What the journal says, read beside the guest, which may be at it."""
        device = self.disk.device["journal"]
        run("blockdev", "--flushbufs", str(device))
        with JournalLook(device) as look:
            return Journal(look).record

    def arm(self, record: WipeRecord) -> None:
        """Writes a record, as the root half does."""
        with Disk(self.disk.device["journal"]) as device:
            Journal(device).write_both(record)


def mount_units() -> dict[str, str]:
    """Path below the folder of units to content."""
    found = {FOLDERS: FOLDERS_UNIT, "etc.mount.d/conf.conf": ETC_DEPENDS}
    for name, where in MOUNTED.items():
        text = MOUNT.format(name=name, what=f"{BY_LABEL}/{name}", where=where, kind="ext4", options="rw")
        found[unit_of(where)] = text
    upper = f"lowerdir=/etc,upperdir={CONF}/etc/upper,workdir={CONF}/etc/work"
    found["etc.mount"] = MOUNT.format(name="/etc", what="overlay", where="/etc", kind="overlay", options=upper)
    return found


def unit_of(where: str) -> str:
    """The name of a mount point's unit."""
    done = subprocess.run(["systemd-escape", "--path", "--suffix=mount", where], capture_output=True, text=True,
                          check=True)  # fmt: skip
    return done.stdout.strip()
