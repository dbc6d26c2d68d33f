"""The state of the masking rule, beside the upper layer on `conf`; on `keep` while `conf` is full. Touches both."""

from __future__ import annotations

from pathlib import Path

from agents.core.errors import GalleyError, Rejected, Retryable
from agents.io.state import StateFile
from edge_commander.overlay.rule import State

NAME = "galley-overlay.json"


class Store:
    """`problems`: why something is not remembered, in words, for the report."""

    def __init__(self, conf: Path, keep: Path) -> None:
        self._files = [StateFile(folder / NAME, State) for folder in (conf, keep)]
        self.problems: list[str] = []

    def load(self) -> State | None:
        """The newer of the two; None where there is none that can be read."""
        found: list[tuple[int, State]] = []
        for file in self._files:
            try:
                state = file.load()
            except (GalleyError, OSError) as error:
                self.problems.append(f"the overlay's state cannot be read: {error}")
                continue
            if file.quarantined:
                self.problems.append(f"{file.path}: was damaged, and put aside: what each file of the upper layer was "
                                     "made from is not known any more")  # fmt: skip
            if state is not None:
                found.append((file.generation, state))
        return max(found, key=lambda one: one[0])[1] if found else None

    def peek(self) -> State | None:
        """As a bystander: nothing is put aside."""
        states = [state for file in self._files if (state := file.peek()) is not None]
        return states[0] if states else None

    def save(self, state: State) -> None:
        """On return it survives a power cut. Raises Retryable where neither place takes it."""
        generation = max(file.generation for file in self._files)
        why: GalleyError | None = None
        for number, file in enumerate(self._files):
            file.generation = generation
            try:
                if number > 0:
                    file.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                file.save(state)
            except Retryable as error:
                why = error
                continue
            except OSError as error:
                why = Retryable(f"{file.path}: cannot be written: {error.strerror}")
                continue
            if number == 0:
                self._files[1].path.unlink(missing_ok=True)
            else:
                self.problems.append(f"conf does not take the overlay's state, keep has it: {why}")
            return
        raise why or Rejected("there is no place for the overlay's state")
