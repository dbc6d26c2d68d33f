"""`galley release sign`: an operator's word for the files of an image, in the folder that nodes will fetch from.

Nothing of it comes from the endpoint: the files lie here, and are hashed here. Touches that folder.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import time
from pathlib import Path
from typing import Any

import msgspec

from agents.contracts.release import DOCUMENT, ImageRelease
from agents.core.errors import Rejected
from agents.core.releases import sign_release
from agents.io.state import write_durably
from cloud_endpoint.cli.entries import KEY
from cloud_endpoint.cli.problems import told
from cloud_endpoint.cli.spec import Command
from cloud_endpoint.signing.keys import operators_key

_VERSION = re.compile(rb"(?m)^IMAGE_VERSION=[\"']?([\d.]+)")
FILES = {"root": "root.img", "kernel_a": "kernel-a.efi", "kernel_b": "kernel-b.efi"}


def _file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return {"sha256": digest, "size": file.tell()}
    except OSError as error:
        raise Rejected(f"cannot be read: {error.strerror}", file=str(path)) from None


def _named(path: Path) -> str:
    """The version that a unified kernel image has in its section of os-release(5); empty where it says none."""
    found = _VERSION.search(path.read_bytes())
    return found[1].decode() if found else ""


async def sign(client: None, options: argparse.Namespace) -> Any:
    """Writes `release.json`; what a command `upgrade` must name."""
    folder = Path(options.folder)
    fields = {name: _file(folder / file) for name, file in FILES.items()}
    try:
        release = msgspec.convert({**fields, "version": options.version, "issued": int(time.time())}, ImageRelease)
    except msgspec.ValidationError as error:
        what = (
            "--version must be numbers and dots, such as 1.4.0"
            if "version" in str(error)
            else told(error, ImageRelease)
        )
        raise Rejected(f"the release cannot be so: {what}", file=str(folder)) from None
    for file in ("kernel-a.efi", "kernel-b.efi"):
        if (named := _named(folder / file)) != release.version:
            calls = f"calls itself {named}, not {release.version}" if named else "says no IMAGE_VERSION"
            build = f"build it as that version (`make image VERSION={release.version}`)"
            instead = f", or sign it as --version {named}" if named else ""
            what = f"{calls}: a node that runs it would not know it as this release; {build}{instead}"
            raise Rejected(what, file=str(folder / file))
    data = sign_release(release, [operators_key(options.key)])
    try:
        write_durably(folder / DOCUMENT, data, mode=0o644)
    except OSError as error:
        raise Rejected(f"cannot be written: {error.strerror}", file=str(folder / DOCUMENT)) from None
    return {"version": release.version, "sha256": hashlib.sha256(data).hexdigest(), "file": str(folder / DOCUMENT)}


RELEASES: tuple[Command, ...] = (
    Command(
        ("release", "sign"),
        "sign the files of an image (root.img, kernel-a.efi, kernel-b.efi) in a folder, for `command sign upgrade`",
        sign,
        [
            ("folder", {"help": "what an https server will show to the nodes"}),
            ("--version", {"required": True, "help": "of the image: numbers and dots, such as 1.4.0"}),
            ("--key", KEY),
        ],
        ("version", "sha256", "file"),
        local=True,
    ),
)
