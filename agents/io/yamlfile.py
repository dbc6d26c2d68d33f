"""Reads the project's own YAML files (configuration, scenarios) strictly; touches the named file alone.

Scalars follow the YAML 1.2 core schema, not 1.1: `22:22`, `on` and dates are text. Duplicate keys, aliases (so no
bomb), non-text keys, a second document and files above 1 MiB are refused, each with file and line. Manifests have a
reader of their own in Vessel.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, ScalarNode

from agents.core.errors import Rejected

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "aliases are refused", self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        if self.depth >= MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "is nested too deeply", mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_scalar(self, node: Any) -> Any:
        text = super().construct_scalar(node)
        if "\0" in text or (not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text)):
            raise yaml.constructor.ConstructorError(None, None, "holds NUL or half a character", node.start_mark)
        return text

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key.value!r}", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _construct_int(loader: _Loader, node: ScalarNode) -> int:
    text = loader.construct_scalar(node)
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", [*"~nN", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def parse(text: str | bytes, name: str) -> Any:
    """Reads one YAML document; `name` stands in errors. Raises Rejected with file and line; never quotes values."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise Rejected(error.problem or error.context or "is not YAML", file=name, line=line) from None
    except yaml.reader.ReaderError as error:
        raise Rejected(f"is not YAML text: {error.reason}", file=name) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # What is tagged by hand (`!!bool maybe`, `!!timestamp x`) meets the library's constructors unprepared.
        raise Rejected("holds a value that cannot be read", file=name) from None


def lines_of(data: str | bytes) -> dict[str, int]:
    """Line (from 1) by path, such as `steps[2].url`. Only for text that `parse` has taken: no aliases, no bombs."""
    found: dict[str, int] = {}
    root = yaml.compose(data, Loader=yaml.SafeLoader)
    if root is not None:
        _walk(root, "", root.start_mark.line + 1, found)
    return found


def _walk(node: yaml.Node, path: str, line: int, found: dict[str, int]) -> None:
    found[path] = line
    if isinstance(node, MappingNode):
        for key, value in node.value:
            _walk(value, f"{path}.{key.value}".lstrip("."), key.start_mark.line + 1, found)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, f"{path}[{index}]", value.start_mark.line + 1, found)


def read(path: Path) -> Any:
    """Reads the file; raises Rejected naming it when it is missing, unreadable, too large or not strict YAML."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise Rejected(f"cannot be read: {error.strerror}", file=str(path)) from None
    if len(data) > MAX_BYTES:
        raise Rejected(f"is larger than {MAX_BYTES} bytes", file=str(path))
    return parse(data, str(path))
