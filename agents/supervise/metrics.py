"""A small registry of counters, gauges and histograms, and their Prometheus text format 0.0.4. Pure.

Source of the format: Prometheus, "Text-based format" (escaping of help and label values, order, `+Inf`).
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_SERIES = 1000
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")

Labels = tuple[tuple[str, str], ...]


class Counter:
    """Only rises."""

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, n: float = 1) -> None:
        """Adds `n` >= 0."""
        if n < 0:
            raise ValueError("a counter cannot fall")
        self.value += n

    def samples(self) -> list[tuple[str, Labels, float]]:
        """Suffix, further labels and value of each line."""
        return [("", (), self.value)]


class Gauge:
    """Any value."""

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        """Takes the value."""
        self.value = float(value)

    def samples(self) -> list[tuple[str, Labels, float]]:
        """Suffix, further labels and value of each line."""
        return [("", (), self.value)]


class Histogram:
    """Counts per bound, cumulative when shown."""

    def __init__(self, bounds: Sequence[float] = BOUNDS) -> None:
        self.bounds = tuple(sorted(bounds))
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value

    def samples(self) -> list[tuple[str, Labels, float]]:
        """Suffix, further labels and value of each line."""
        lines: list[tuple[str, Labels, float]] = []
        total = 0
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            total += count
            lines.append(("_bucket", (("le", _number(bound)),), total))
        return [*lines, ("_sum", (), self.sum), ("_count", (), total)]


Series = Counter | Gauge | Histogram


class Metrics:
    """The registry. Asking twice for the same name and labels gives the same series."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[type[Series], str, dict[Labels, Series]]] = {}

    def counter(self, name: str, help: str, **labels: str) -> Counter:
        """A counter, which the name should end in `_total`. Raises ValueError for a bad name or another type."""
        series = self._series(Counter, name, help, labels)
        assert isinstance(series, Counter)
        return series

    def gauge(self, name: str, help: str, **labels: str) -> Gauge:
        """A gauge."""
        series = self._series(Gauge, name, help, labels)
        assert isinstance(series, Gauge)
        return series

    def histogram(self, name: str, help: str, **labels: str) -> Histogram:
        """A histogram over BOUNDS (s)."""
        series = self._series(Histogram, name, help, labels)
        assert isinstance(series, Histogram)
        return series

    def forget(self, name: str, **labels: str) -> None:
        """Removes a series, as when what it measured is gone."""
        if name in self._families:
            self._families[name][2].pop(_key(labels), None)

    def _series(self, type_: type[Series], name: str, help_: str, labels: dict[str, str]) -> Series:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no metric name")
        for label in labels:
            if not _LABEL.fullmatch(label) or (type_ is Histogram and label == "le"):
                raise ValueError(f"{label!r} is no label name")
        known, _, children = self._families.setdefault(name, (type_, help_, {}))
        if known is not type_:
            raise ValueError(f"{name} is a {known.__name__.lower()} already")
        key = _key(labels)
        if key not in children:
            if len(children) >= MAX_SERIES:
                raise ValueError(f"{name} has {MAX_SERIES} series already")
            children[key] = type_()
        return children[key]

    def render(self) -> str:
        """The text format, families and series in order of name and labels."""
        lines: list[str] = []
        for name, (type_, help_, children) in sorted(self._families.items()):
            text = help_.replace("\\", "\\\\").replace("\n", "\\n")
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {type_.__name__.lower()}"]
            for labels, series in sorted(children.items()):
                lines += [
                    f"{name}{suffix}{_labels(labels + more)} {_number(value)}"
                    for suffix, more, value in series.samples()
                ]
        return "\n".join(lines) + "\n" if lines else ""


def _key(labels: dict[str, str]) -> Labels:
    return tuple(sorted((key, str(value)) for key, value in labels.items()))


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escape(value)}"' for key, value in labels) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)
