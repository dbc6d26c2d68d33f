"""What a person sees of a machine under QEMU: its screen, read by a telephone's reader, and its page on the LAN."""

from __future__ import annotations

import subprocess

from tests.site_in_a_box.nuc import Nuc

ADDRESS = "10.0.2.15"
"""What QEMU's network gives a machine."""


def screen(machine: Nuc) -> str:
    """What the code on its screen holds; empty where none is read."""
    machine.qmp("screendump", filename="/run/vm/screen.ppm")
    picture = machine.folder / "screen.ppm"
    command = ["zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", str(picture)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.strip()


def page(machine: Nuc) -> str:
    """The page that it serves on the LAN."""
    ask = f"import urllib.request as r; print(r.urlopen('http://{ADDRESS}:9412/', timeout=60).read().decode())"
    return machine.run(f'python3 -I -c "{ask}"')
