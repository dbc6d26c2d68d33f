"""The boot loader's entries of the two slots: unified kernel images on the ESP, with tries counted in their names.

`galley_<version>_<slot>.efi`, and on trial `galley_<version>_<slot>+<left>-<done>.efi` (systemd's Automatic Boot
Assessment): each start takes one try from the name, and one without any left is chosen last. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

TRIES = 3
FOLDER = "EFI/Linux"
_NAME = re.compile(r"galley_(\d+(?:\.\d+)*)_([ab])(?:\+(\d+)(?:-(\d+))?)?\.efi")


@dataclass(frozen=True)
class Entry:
    """`left`: tries that are left; None: it is trusted."""

    name: str
    version: str
    slot: str
    left: int | None

    @property
    def trial(self) -> bool:
        """Whether it must still show that it is well."""
        return self.left is not None


def read(names: Iterable[str]) -> list[Entry]:
    """Ours among the names of a folder."""
    found = ((name, _NAME.fullmatch(name)) for name in names)
    return [
        Entry(name, one[1], one[2], None if one[3] is None else int(one[3])) for name, one in found if one is not None
    ]


def new(version: str, slot: str) -> str:
    """The name of an entry on its first trial."""
    return f"galley_{version}_{slot}+{TRIES}.efi"


def trusted(version: str, slot: str) -> str:
    """The name of an entry that is on no trial: what an image is installed with."""
    return f"galley_{version}_{slot}.efi"


def of_slot(entries: Iterable[Entry], slot: str) -> list[Entry]:
    """Those that start from it."""
    return [one for one in entries if one.slot == slot]
