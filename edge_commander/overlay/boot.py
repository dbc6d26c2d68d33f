"""`python -m edge_commander.overlay.boot`: the masking rule, and then the overlay on /etc, in early boot.

Run by galley-overlay.service from the read-only root, or with folders of its own from an initramfs. Never stops a boot:
what cannot be done is said on standard error (the console and the journal), and left for the report in `--run`.
Exit 0: /etc can be written. 1: it is the image's, read-only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agents.core.errors import GalleyError
from edge_commander.overlay import mounting
from edge_commander.overlay.allowed import Allowed
from edge_commander.overlay.aside import put_aside
from edge_commander.overlay.backups import Backups
from edge_commander.overlay.configured import allow
from edge_commander.overlay.masking import Damaged, Masking, version
from edge_commander.overlay.notes import Notes
from edge_commander.overlay.places import IMAGE, KEEP, LOWER, MEMORY, RUN, UPPER, WORK
from edge_commander.overlay.steps import Place
from edge_commander.overlay.store import Store


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`lower`: the image's /etc; `upper` and `work` on `conf`; `keep`: a folder of the backups; `mount`: where the
    overlay is to be; `run`: a folder in memory; `image`: the image's version, where os-release does not say it."""

    lower: Path
    upper: Path
    work: Path
    keep: Path
    mount: Path
    run: Path
    image: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """See above."""
    parser = argparse.ArgumentParser(prog="galley-overlay", description=(__doc__ or "").partition("\n")[0])
    defaults = {"lower": LOWER, "upper": UPPER, "work": WORK, "keep": KEEP, "mount": LOWER, "run": RUN}
    for name, path in defaults.items():
        parser.add_argument(f"--{name}", type=Path, default=Path(path), metavar="DIR")
    parser.add_argument("--image", default="", metavar="VERSION")
    return start(Options(**vars(parser.parse_args(argv))))


def start(options: Options) -> int:
    """One early boot; returns the exit status."""
    notes = Notes()
    if mounting.mounted(options.mount) == "overlay":
        notes.say(f"{options.mount}: an overlay is mounted there already")
        return 0
    try:
        status = _start(options, notes)
    except Exception as error:  # noqa: BLE001 - a bug must not stop a boot either
        notes.problem(f"the masking rule ended by {type(error).__name__}: {error}")
        status = _in_memory([options.lower], options, notes)
    notes.leave(options.run)
    return status


def _start(options: Options, notes: Notes) -> int:
    lower = _image(options, notes)
    backups, store = Backups(options.keep), Store(options.upper.parent, options.keep)
    place = Place(lower, options.upper, backups, options.image or version(options.lower))
    readable = True
    try:
        _folders(options)
        patterns = allow([options.upper / "galley", lower / "galley"], notes.problem)
        masking = Masking(place, store, Allowed(patterns), notes.say)
        try:
            masking.run()
        finally:
            notes.problems += [*store.problems, *masking.problems]
            notes.newer = masking.newer
    except Damaged as error:
        notes.problem(f"the upper layer cannot be read: {error}")
        readable = False
    except (OSError, GalleyError) as error:
        notes.problem(f"the masking rule was not carried out: {error}")
    if readable and (status := _mount(lower, options, notes)) is not None:
        return status
    if readable and not _at_fault(lower, options, notes):
        return _in_memory([lower], options, notes)
    put_aside(place, notes.problem)
    try:
        _folders(options)
    except (OSError, GalleyError) as error:
        notes.problem(f"conf takes no new upper layer: {error}")
    else:
        if not (why := mounting.overlay([lower], options.upper, options.work, options.mount)):
            return 0
        notes.problem(f"nor can a new upper layer be mounted: {why}")
    return _in_memory([lower], options, notes)


def _image(options: Options, notes: Notes) -> Path:
    """The image's /etc by a path that still shows it once the overlay lies on it."""
    if options.lower != options.mount:
        return options.lower
    at = options.run / IMAGE
    try:
        at.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        notes.problem(f"{at}: {error.strerror}")
        return options.lower
    if not mounting.mounted(at) and (why := mounting.bind_read_only(options.lower, at)):
        notes.problem(f"{at}: the image's files cannot be shown there, so that nothing can be compared later: {why}")
        return options.lower
    return at


def _folders(options: Options) -> None:
    """Raises Damaged, OSError."""
    for folder in (options.upper, options.work):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise Damaged(f"{folder}: is no directory")
        if not folder.is_dir():
            folder.mkdir(mode=0o755, parents=True)
            folder.chmod(0o755)


def _mount(lower: Path, options: Options, notes: Notes) -> int | None:
    """None where it cannot be mounted in any way."""
    why = mounting.overlay([lower], options.upper, options.work, options.mount)
    if not why:
        return 0
    notes.problem(f"the overlay cannot be mounted: {why}")
    if not (again := mounting.fresh(options.work)) and not mounting.overlay(
        [lower], options.upper, options.work, options.mount
    ):
        return 0
    notes.problem(again or "neither with a new work folder")
    # A conf that became read-only: what is on it can still be read, and changes go to memory.
    status = _in_memory([options.upper, lower], options, notes)
    return status if status == 0 else None


def _at_fault(lower: Path, options: Options, notes: Notes) -> bool:
    """Whether it is the upper layer that cannot be mounted: then an empty one in its place can be."""
    empty = options.upper.with_name(options.upper.name + ".empty")
    why = mounting.fresh(empty) or mounting.overlay([lower], empty, options.work, options.mount)
    if why:
        notes.problem(f"an empty upper layer cannot be mounted either: {why}")
    else:
        why = mounting.run("umount", str(options.mount))
    mounting.gone(empty)
    return not why


def _in_memory(lowers: list[Path], options: Options, notes: Notes) -> int:
    """An upper layer that is gone with the next start; 1 where not even that can be."""
    folder = options.run / MEMORY
    try:
        for name in ("upper", "work"):
            (folder / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        notes.problem(f"{folder}: {error.strerror}")
        return 1
    if why := mounting.overlay(lowers, folder / "upper", folder / "work", options.mount):
        notes.problem(f"{options.mount}: stays as it is in the image, read-only: {why}")
        return 1
    notes.problem("what is changed in /etc is in memory, and gone with the next start")
    notes.memory = True
    return 0


if __name__ == "__main__":
    sys.exit(main())
