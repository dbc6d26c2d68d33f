"""The next step of a wipe, from what the journal holds. Pure: each step is a value that says what it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_commander.wipe.luks import LEAST_AREA, read
from edge_commander.wipe.record import OPEN, Method, Phase, Stage, Target, TargetState, WipeRecord

MAX_ATTEMPTS = 5
"""Starts that achieve nothing before it is given up. A power cut amid the work is none: that start got on."""
MAX_FAILURES = 3
"""How often a device may give back what was not written before it is given up."""
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class Idle:
    """Nothing is armed, or it is over."""

    why: str

    def describe(self) -> str:
        """For people."""
        return f"nothing to do: {self.why}"


@dataclass(frozen=True)
class Survey:
    """Look at each target and record how it is to be erased; nothing is touched."""

    targets: tuple[Target, ...]

    def describe(self) -> str:
        """For people."""
        return f"look at {', '.join(self.targets)}, and record how to erase"


@dataclass(frozen=True)
class Erase:
    """Overwrite what is left of a target's area with zeros."""

    state: TargetState

    def describe(self) -> str:
        """For people."""
        state = self.state
        what = "LUKS headers and key slots" if state.method is Method.HEADER else "every block"
        from_where = f" from {amount(state.offset)} on" if state.offset else ""
        return f"{state.target.value}: overwrite {what} ({amount(state.area)}){from_where} with zeros"


@dataclass(frozen=True)
class Verify:
    """Read a target's area back from the medium."""

    state: TargetState

    def describe(self) -> str:
        """For people."""
        return f"{self.state.target.value}: read {amount(self.state.area)} back, all must be zeros"


@dataclass(frozen=True)
class Format:
    """Make a new file system, the same bytes for the same command."""

    state: TargetState

    def describe(self) -> str:
        """For people."""
        return f"{self.state.target.value}: make a new ext4 file system"


@dataclass(frozen=True)
class Complete:
    """Record in both slots that it is done, before anything of it is mounted."""

    def describe(self) -> str:
        """For people."""
        return "record that it is done, in both slots of the journal"


@dataclass(frozen=True)
class Fail:
    """Give up, and leave the targets unmounted."""

    why: str

    def describe(self) -> str:
        """For people."""
        return f"give up: {self.why}"


Step = Idle | Survey | Erase | Verify | Format | Complete | Fail


def next_step(record: WipeRecord | None) -> Step:
    """The one thing to do now."""
    if record is None:
        return Idle("no wipe was armed")
    if record.phase not in OPEN:
        return Idle(f"the last one is {record.phase.value}")
    if record.attempts > MAX_ATTEMPTS:
        return Fail(f"{MAX_ATTEMPTS} starts achieved nothing" + (f": {record.problem}" if record.problem else ""))
    if record.phase is Phase.ARMED:
        return Survey(tuple(one.target for one in record.targets))
    state = next((one for one in record.targets if one.stage is not Stage.DONE), None)
    return _of_target(state) if state is not None else Complete()


def _of_target(state: TargetState) -> Step:
    if state.failures >= MAX_FAILURES:
        return Fail(f"{state.target.value} does not keep what is written to it")
    match state.stage:
        case Stage.ERASE:
            return Erase(state)
        case Stage.VERIFY:
            return Verify(state)
        case Stage.FORMAT | Stage.DONE:
            return Format(state)


def state_of(target: Target, size: int, start: bytes, *, blank: bool = False) -> TargetState:
    """How a target is erased. `size`: of its device, bytes; `start`: what its first LOOK bytes hold; `blank`: nothing
    is made on it."""
    luks = read(start, size)
    if luks is None:
        return TargetState(target=target, method=Method.BLOCKS, size=size, area=size, blank=blank)
    area = min(size, max(luks.data, LEAST_AREA))
    return TargetState(target=target, method=Method.HEADER, size=size, area=area, blank=blank)


def whole(states: Sequence[TargetState]) -> list[Step]:
    """Every step of an undisturbed wipe of these targets, for a dry run."""
    steps: list[Step] = [Survey(tuple(one.target for one in states))]
    for state in states:
        steps += [Erase(state), Verify(state)]
        if state.method is Method.BLOCKS and not state.blank:
            steps.append(Format(state))
    return [*steps, Complete()]


def amount(count: int) -> str:
    """Bytes for people, exact where they are whole units."""
    value, unit = float(count), UNITS[0]
    for unit in UNITS:
        if value < 1024 or unit == UNITS[-1]:
            break
        value /= 1024
    return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"
