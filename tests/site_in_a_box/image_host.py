"""The NUC image's own root as a host in systemd-nspawn: read-only, `/etc` over a folder, `/var`, `ident` and `keep`
folders, and what a person put on the esp where the image looks for it. Boots in a second; firmware, partitions, TPM and
kernel are what it has not: see nuc.py.

    with mounted_root(built, folder) as root, ImageHost(name, folder / "h", root, serial="...") as host: ...

Needs root.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from images.nuc.build import Built
from tests.site_in_a_box.host import Host

MEDIUM = "/run/galley-settings.medium/esp"
"""Where galley-settings.service mounts the esp, if there is one."""
HARDWARE = "/run/galley-test/class"
INTERFACE = "host0"
MODEL = {
    "board_serial": ("board of {serial}", 0o400),
    "product_name": ("NUC12WSHi5", 0o444),
    "product_serial": ("{serial}", 0o400),
    "product_uuid": ("4c4c4544-0044-4810-8057-b4c04f4d3132", 0o400),
    "sys_vendor": ("Intel(R) Client Systems", 0o444),
}
"""As the kernel shows it: what identifies a machine is for root's eyes alone."""

UNIT = f"""\
[Unit]
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
ExecStart=/usr/bin/mount --bind {HARDWARE} /sys/class
"""
CREDENTIALS = {
    "systemd.extra-unit.galley-test-hardware.service": UNIT,
    "systemd.unit-dropin.sysinit.target~test": "[Unit]\nWants=galley-test-hardware.service\n",
}
"""nspawn mounts the kernel's own /sys/class over whatever was bound there, so the hardware is laid from within."""


@contextmanager
def mounted_root(built: Built, folder: Path) -> Iterator[Path]:
    """The image's root, mounted below `folder`."""
    place = folder / "image"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "erofs", "-o", "loop,ro", str(built.root), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


class ImageHost(Host):
    """A box that the image was put onto. `root`: see mounted_root; `serial`: what its hardware says."""

    mount = "mount --bind {lower} {folder}/root"
    etc = "--overlay=+/etc:{folder}/conf:/etc"
    """What early boot has done with `conf`."""

    def __init__(
        self,
        name: str,
        folder: Path,
        root: Path,
        *,
        serial: str,
        options: Sequence[str] = (),
        enter: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.serial = serial
        self.esp = folder / "esp"
        for part in ("esp/galley", "conf", "var", "ident", "keep", "credentials"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for credential, text in CREDENTIALS.items():
            (folder / "credentials" / credential).write_text(text)
        lay_hardware(folder / "class", serial)
        own = [
            "--read-only",
            self.etc.format(folder=folder),
            f"--bind={folder}/var:/var",
            f"--bind={folder}/ident:/var/lib/galley-ident",
            f"--bind={folder}/keep:/var/lib/galley-keep",
            f"--bind-ro={folder}/class:{HARDWARE}",
            f"--bind-ro={folder}/esp:{MEDIUM}",
            *(f"--load-credential={name}:{folder}/credentials/{name}" for name in CREDENTIALS),
            # nspawn forbids what the hardware allows everyone: asking for the clock's state.
            *(f"--system-call-filter={call}" for call in ("adjtimex", "clock_adjtime")),
        ]
        super().__init__(name, folder, options=[*own, *options], tree=root, enter=enter, environ=environ)

    def path(self, inside: str) -> Path:
        """A file of the guest below /etc or /var, before it boots; what is on the esp goes to `put`."""
        top, _, rest = inside.lstrip("/").partition("/")
        target = self.folder / {"etc": "conf", "var": "var"}[top] / rest
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def put(self, settings: str, files: Mapping[str, str]) -> None:
        """`galley.yaml` and the files beside it on the esp, as a person copies them."""
        (self.esp / "galley.yaml").write_text(settings)
        for name, text in files.items():
            (self.esp / "galley" / name).write_text(text)

    def prepare(self) -> None:
        raise NotImplementedError("the image holds the suite")


def lay_hardware(folder: Path, serial: str) -> None:
    """A /sys/class with DMI's tables, and the guest's own interfaces."""
    place = folder / "dmi/id"
    place.mkdir(parents=True, exist_ok=True)
    for name, (text, mode) in MODEL.items():
        (place / name).write_text(text.format(serial=serial) + "\n")
        (place / name).chmod(mode)
    for part in ("net", "block"):
        (folder / part).unlink(missing_ok=True)
        (folder / part).symlink_to(f"../devices/virtual/{part}")
