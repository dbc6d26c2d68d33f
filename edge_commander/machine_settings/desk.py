"""`edge-commander stick check FOLDER`: what a node would say of a stick's settings, before it travels.

Reads the folder, makes a copy that is gone at the end, and runs the daemons' own checks on it. Needs no root, no node
and nothing in /etc/galley. Each check sees the copy as the node's `/`: /etc/galley is there, and this machine's other
files are not, so that a path of the desk (`/mnt/galley/ca.pem`) is found wrong here and not in the restaurant.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from edge_commander.machine_settings import judge, medium, named
from edge_commander.machine_settings.files import reader_of

FROM_THE_IMAGE = ("usr", "etc/ssl")
"""What a node has of its own that a setting may well name, as Debian's certificates: this machine's stands for it."""


def main(argv: Sequence[str]) -> int:
    """0: a node would take it over, and work with it; 78: it would not, and every problem is said. Notes change nothing
    of that."""
    folder: Path = _parser().parse_args(argv).folder
    absent = "is no folder" if folder.exists() else "there is no such folder"
    found, wrong = medium.read(folder) if folder.is_dir() else ({}, [absent])
    late: list[str] = []
    notes: list[str] = []
    if not found and not wrong:
        wrong = [f"there is no {medium.MAIN} at its top{medium.instead(folder)}"]
    elif not wrong:
        top = medium.top(folder)
        _, wrong = judge.checked(found, daemons_say, top)
        late, notes = named.desk(found, judge.document(found), top)
    for note in judge.bounded(notes):
        print(f"{folder}: note: {note}")
    if not wrong and not late:
        print(f"{folder}: the settings are good ({', '.join(sorted(found))})")
        return 0
    for problem in judge.bounded([*wrong, *late]):
        print(f"{folder}: {problem}", file=sys.stderr)
    number = len(wrong) + len(late)
    count = "1 problem" if number == 1 else f"{number} problems"
    end = "a node takes nothing of it over" if wrong else "a node would take it over, and wait for what is missing"
    print(f"{folder}: {count}; {end}", file=sys.stderr)
    return os.EX_CONFIG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-commander stick")
    verbs = parser.add_subparsers(dest="verb", required=True)
    text = "says what is wrong with the settings on a stick, as a node would"
    check = verbs.add_parser("check", help=text, description=f"{text}; exit status 78 where anything is.")
    what = "where the stick is mounted: galley.yaml at its top, and in its folder galley the files that it names"
    check.add_argument("folder", type=Path, metavar="FOLDER", help=what)
    return parser


def daemons_say(found: Mapping[str, bytes]) -> list[str]:
    """Each daemon's own check of the whole, as apply.py has it on the node."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GALLEY_")}
    said: dict[str, None] = {}
    for daemon, user in judge.DAEMONS.items():
        with TemporaryDirectory(prefix="galley-stick-") as place:
            root = Path(place).resolve()
            _lay(root, found, user)
            command = [sys.executable, "-P", "-m", daemon.replace("-", "_"), "--check-config", "--root", str(root)]
            said |= dict.fromkeys(judge.daemon_says(daemon, command, cwd=root, env=environment))
    return list(said)


def _lay(root: Path, found: Mapping[str, bytes], user: str) -> None:
    """The root that `user` would see: the files of another daemon are there and cannot be read (by who may read
    everything: are not there)."""
    etc = root / "etc/galley"
    etc.mkdir(parents=True)
    for name in FROM_THE_IMAGE:
        (root / name).symlink_to(Path("/") / name)
    for name, data in found.items():
        if reader_of(name) in (None, user):
            (etc / name).write_bytes(data)
        elif os.geteuid() != 0:
            (etc / name).touch(mode=0)
