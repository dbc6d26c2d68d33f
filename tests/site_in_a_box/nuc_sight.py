"""What a person sees of a machine under QEMU: its screen, as text and read by a telephone's reader, and its page on the
LAN."""

from __future__ import annotations

import base64
import gzip
import subprocess

from tests.site_in_a_box.nuc import ADDRESS, Nuc


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


def text(machine: Nuc) -> list[str]:
    """The rows of its first console, from the kernel's own copy (vcs(4), in UTF-32). RuntimeError; TimeoutError."""
    size, coded = machine.run("stty size < /dev/tty1; gzip -c < /dev/vcsu1 | base64 -w 0; echo").strip().split("\n")
    cells = gzip.decompress(base64.b64decode(coded)).decode("utf-32-le", errors="replace")
    columns = int(size.split()[1])
    rows = [cells[start : start + columns].rstrip() for start in range(0, len(cells), columns)]
    while rows and not rows[-1]:
        rows.pop()
    return rows
