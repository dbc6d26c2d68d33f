"""Carries the masking rule out on an upper layer that is not mounted. Touches the upper layer, its state, the backups.

Level-triggered: it looks, does what the verdicts ask, looks again, and remembers only when nothing is left to do. So a
start that was cut anywhere, and one more, end as one that was left in peace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from agents.core import os_release
from agents.core.errors import GalleyError
from edge_commander.overlay.allowed import Allowed
from edge_commander.overlay.layers import Tree, plain
from edge_commander.overlay.read import digested, read
from edge_commander.overlay.rule import Act, State, Verdict, judge, manifest, masks, remembered
from edge_commander.overlay.steps import Adopt, Merge, Place, Save, Step, steps, tidy
from edge_commander.overlay.store import Store


class Damaged(Exception):
    """The upper layer cannot be read."""


class Masking:
    """One run of the rule. `problems`: what could not be done, in words; `newer`: what stays
    though the image has something newer; `say` tells each step."""

    def __init__(self, place: Place, store: Store, allowed: Allowed, say: Callable[[str], None]) -> None:
        self._place = place
        self._store = store
        self._allowed = allowed
        self._say = say
        self._tried: set[tuple[str, Act]] = set()
        self.problems: list[str] = []
        self.newer: list[str] = []

    def run(self) -> None:
        """Raises Damaged; OSError where the image cannot be read."""
        place = self._place
        try:
            tidy(place)
        except OSError as error:
            self.problems.append(f"{place.going}: cannot be removed: {error.strerror}")
        state = self._store.load()
        place = self._place = replace(place, number=(state.dropped if state is not None else self._latest()) + 1)
        lower: Tree = read(place.lower, contents=False)
        self._finish_begun(state)
        while True:
            upper = self._upper()
            hidden = {path for mask in masks(upper, lower) for path in mask.hides}
            lower = digested(place.lower, lower, hidden)
            verdicts = judge(upper, lower, state, self._allowed)
            todo = [one for one in verdicts if steps(one) and (one.mask.key, one.act) not in self._tried]
            if not todo:
                break
            state = self._begin(state, todo)
            for verdict in todo:
                self._carry_out(verdict)
        self.newer = [one.mask.key or "./" for one in verdicts if one.act is not Act.STAY]
        if state is not None and place.image and state.image == place.image:
            whole = state.manifest
        else:
            whole = manifest(digested(place.lower, lower, lower))
        new = remembered(verdicts, place.image, whole, self._latest())
        if new != state or self._store.away:
            self._save(new)

    def _upper(self) -> Tree:
        try:
            return read(self._place.upper, contents=True)
        except (OSError, GalleyError) as error:
            raise Damaged(str(error)) from None

    def _latest(self) -> int:
        try:
            return self._place.backups.latest()
        except OSError:
            return 0

    def _finish_begun(self, state: State | None) -> None:
        """What a crash may have left half done."""
        for key, act in sorted((state.begun if state is not None else {}).items()):
            path, _, image = key.partition("\0")
            step: Step = Merge(path) if act is Act.MERGE else Adopt(path, image)
            if (self._place.upper / path).is_dir():
                self._execute(step)

    def _begin(self, state: State | None, todo: list[Verdict]) -> State | None:
        """Remembers merges and adoptions before the first of them, and after their backups."""
        begun: dict[str, Act] = {}
        for one in (one for one in todo if one.act in (Act.MERGE, Act.ADOPT)):
            saves = [step for step in steps(one) if isinstance(step, Save)]
            if all(self._execute(step) for step in saves):
                begun[plain("\0".join([one.mask.path, *one.mask.hides[:1]]))] = one.act
            else:
                self._tried.add((one.mask.key, one.act))
        if not begun:
            return state
        new = msgspec.structs.replace(state or State(), begun=begun)
        if self._save(new):
            return new
        # Nothing is begun that could not be finished: it is tried again at the next start.
        self._tried |= {(one.mask.key, one.act) for one in todo if one.act in (Act.MERGE, Act.ADOPT)}
        return state

    def _carry_out(self, verdict: Verdict) -> None:
        """All its steps, or as far as they go; once in a run."""
        if (verdict.mask.key, verdict.act) in self._tried:
            return
        self._tried.add((verdict.mask.key, verdict.act))
        for step in steps(verdict):
            if isinstance(step, Save) and verdict.act in (Act.MERGE, Act.ADOPT):
                continue
            if not self._execute(step):
                return

    def _execute(self, step: Step) -> bool:
        self._say(step.describe())
        try:
            step.execute(self._place)
        except (OSError, GalleyError) as error:
            why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            self.problems.append(f"{step.describe()}: not done: {why}")
            self._say(self.problems[-1])
            return False
        return True

    def _save(self, state: State) -> bool:
        try:
            self._store.save(state)
        except GalleyError as error:
            self.problems.append(f"what each file was made from is not remembered: {error}")
            return False
        return True


def version(lower: Path) -> str:
    """The image's version, as os-release(5) names it in the root that `lower` is the /etc of; empty where none."""
    try:
        text = (lower.parent / "usr/lib/os-release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    said = os_release.parse(text)
    named = [said[name] for name in ("IMAGE_VERSION", "BUILD_ID") if name in said]
    return " ".join([said.get("IMAGE_ID", ""), *named]).strip() if any(named) else ""
