"""A medium with settings: `galley.yaml` at its top, and the files that it names in the folder `galley`. Reads them.

A stick may hold anything: names, number and sizes are bounded, links are not followed, and nothing else is looked at.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from itertools import islice
from pathlib import Path, PurePath

from edge_commander.machine_settings.files import PROXY

MAIN = "galley.yaml"
FOLDER = "galley"
DROP_INS = "galley.d"
MAX_FILES = 32
MAX_BYTES = 1024 * 1024
MAX_MAIN = 128 * 1024
"""Of galley.yaml: every daemon reads it at each start, and a mebibyte of YAML takes 330 MB and 12 s to read."""
MAX_TOP = 256
ALIKE = frozenset({MAIN, "galley.yml", f"{MAIN}.txt", "galley.yml.txt", "galley.txt"})
"""What people, and the computers that hide a name's end, call it."""
TAKEN = frozenset({MAIN, DROP_INS, PurePath(PROXY).name})
"""Names that no file of the folder may have."""
NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")


def read(medium: Path) -> tuple[Mapping[str, bytes], list[str]]:
    """(name below /etc/galley to content, problems). No `galley.yaml`: nothing at all."""
    try:
        return _read(medium)
    except OSError as error:  # pulled out, or damaged
        return {}, [f"cannot be read: {error.strerror}"]


def _read(medium: Path) -> tuple[Mapping[str, bytes], list[str]]:
    found: dict[str, bytes] = {}
    problems: list[str] = []
    if not _is_file(medium / MAIN):
        return {}, []
    _take(medium / MAIN, found, problems, MAX_MAIN)
    folder = medium / FOLDER
    names = _names(folder) if folder.is_dir() and not folder.is_symlink() else []
    if len(names) > MAX_FILES:
        return {}, [f"{FOLDER}: has more than {MAX_FILES} entries"]
    seen: dict[str, str] = {}
    for name in names:
        # The esp, where it is kept, has one file of both: the next start would take one's content for the other's.
        twin = seen.setdefault(name.casefold(), name)
        if twin != name:
            problems.append(f"{FOLDER}/{_shown(name)}: is named as {FOLDER}/{_shown(twin)} but for capitals")
        elif name.casefold() in TAKEN:
            problems.append(f"{FOLDER}/{_shown(name)}: is the name of what the node makes itself in /etc/galley")
        elif NAME.fullmatch(name) is None or not _is_file(folder / name):
            problems.append(f"{FOLDER}/{_shown(name)}: is no plain file with a plain name")
        else:
            _take(folder / name, found, problems)
    return found, problems


def top(medium: Path) -> list[str]:
    """Names of what is at a medium's top, as many as are worth a look: what belongs elsewhere may be there."""
    try:
        with os.scandir(medium) as inside:
            return sorted(one.name for one in islice(inside, MAX_TOP) if not one.name.startswith("."))
    except OSError:
        return []


def instead(medium: Path) -> str:
    """What is there in the place of a `galley.yaml`, and what to do with it; empty where nothing is."""
    if alike := [one for one in top(medium) if one.casefold() in ALIKE and one != MAIN]:
        return f": {_shown(alike[0])} must be called {MAIN}"
    inner = [one for one in top(medium / FOLDER) if one.casefold() in ALIKE]
    return f": {FOLDER}/{_shown(inner[0])} belongs there, as {MAIN}" if inner else ""


def _names(folder: Path) -> list[str]:
    """In order, and no more than it takes to see that they are too many: a stick has room for millions."""
    with os.scandir(folder) as inside:
        # A computer leaves hidden files of its own on every stick (`._ca.pem`, `.DS_Store`), where nobody sees them.
        return sorted(islice((one.name for one in inside if not one.name.startswith(".")), MAX_FILES + 1))


def _take(file: Path, found: dict[str, bytes], problems: list[str], most: int = MAX_BYTES) -> None:
    try:
        with file.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        problems.append(f"{file.name}: cannot be read: {error.strerror}")
        return
    if len(data) > most:
        problems.append(f"{file.name}: is longer than {most} bytes")
        return
    found[file.name] = data


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _shown(name: str) -> str:
    return ascii(name)[1:-1][:64]
