"""Reads a scenario file: strict YAML, and the line of every path in it. Touches that file alone."""

from __future__ import annotations

from pathlib import Path

import yaml

from agents.core.errors import Rejected
from agents.io.yamlfile import MAX_BYTES, parse
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


def lines_of(data: bytes) -> dict[str, int]:
    """Line (from 1) by path, such as `steps[2].url`. Only for text that `parse` has taken: no aliases, no bombs."""
    found: dict[str, int] = {}
    root = yaml.compose(data, Loader=yaml.SafeLoader)
    if root is not None:
        _walk(root, "", root.start_mark.line + 1, found)
    return found


def _walk(node: yaml.Node, path: str, line: int, found: dict[str, int]) -> None:
    found[path] = line
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _walk(value, f"{path}.{key.value}".lstrip("."), key.start_mark.line + 1, found)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, f"{path}[{index}]", value.start_mark.line + 1, found)
