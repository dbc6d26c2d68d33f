"""Reads a scenario file: strict YAML, each problem with its line. Touches that file alone."""

from __future__ import annotations

from pathlib import Path

from agents.core.errors import Rejected
from agents.io.yamlfile import MAX_BYTES, lines_of, parse
from synthetic_client.scenario import BadScenario, Scenario, check


def read_scenario(path: Path) -> Scenario:
    """The checked scenario; raises BadScenario with all problems, each with file, line and path."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadScenario([f"{path}: cannot be read: {error.strerror}"]) from None
    if len(data) > MAX_BYTES:
        raise BadScenario([f"{path}: is larger than {MAX_BYTES} bytes"])
    return read_text(data, str(path))


def read_text(data: bytes, name: str) -> Scenario:
    """As read_scenario, from bytes; `name` stands in errors."""
    try:
        document = parse(data, name)
    except Rejected as error:
        raise BadScenario([str(error)]) from None
    return check(document, lines_of(data), name)
