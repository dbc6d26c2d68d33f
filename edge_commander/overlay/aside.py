"""Puts an upper layer that is damaged aside, whole: into the backups, else beside its place. Touches both."""

from __future__ import annotations

from collections.abc import Callable

from agents.core.errors import GalleyError
from edge_commander.overlay.backups import Note
from edge_commander.overlay.layers import ROOT
from edge_commander.overlay.mounting import gone
from edge_commander.overlay.steps import Place

ASIDE = ".damaged"
"""The ending of the folder on `conf` that holds what `keep` did not take whole. One: the next replaces it."""
WHY = "is damaged: the whole upper layer was put aside"


def put_aside(place: Place, problem: Callable[[str], None]) -> None:
    """On return there is no upper layer, or `problem` was told why there still is. Raises nothing expected."""
    upper = place.upper
    if not upper.exists() and not upper.is_symlink():
        return
    lost: list[str] = []
    try:
        note, number = Note(path=ROOT, why=WHY, image=place.image), place.backups.latest() + 1
        saved = place.backups.add(upper, ROOT, number=number, note=note, lost=lost)
        problem(f"the whole upper layer was put aside, {len(lost)} path(s) of it could not be read: keep has {saved}")
        whole = not lost
    except (OSError, GalleyError) as error:
        problem(f"keep does not take the damaged upper layer: {error}")
        whole = False
    aside = upper.with_name(upper.name + ASIDE)
    try:
        if aside.exists() or aside.is_symlink():
            gone(aside)
        upper.rename(aside)
    except OSError as error:
        problem(f"{upper}: cannot be put aside: {error.strerror}")
        return
    if whole:
        gone(aside)
    else:
        problem(f"what there is of it lies in {aside}")
