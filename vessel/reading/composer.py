"""One YAML document's events to a JSON value: keys, merges, aliases, bounds. no recursion. Pure.

PyYAML's libyaml parser gives the events; what they mean follows go.yaml.in/yaml/v2 `decode.go`. In one
mapping a merge takes effect where it stands: keys before it lose to it, keys after it win. An alias is a copy,
so that no two places of a manifest share an object, and its size counts each time: a bomb meets the bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml import CSafeLoader

from vessel.reading.scalars import TAG_PREFIX, UNKNOWN_TAG, ScalarError, key_text, resolve, resolve_tagged, to_json

Place = tuple[str | int, ...]

_PLACES_DEPTH = 4
_COLLECTION_TAGS = (None, "!", TAG_PREFIX + "map", TAG_PREFIX + "seq")
_MERGE = TAG_PREFIX + "merge"


_SHOWN = re.compile(r"[-._/a-zA-Z0-9]{1,253}")


def named(key: str) -> str:
    """A key as problems name it: what cannot be the name of a field or of a Secret's key may be a value, misplaced."""
    return f"key {key!r}" if _SHOWN.fullmatch(key) else "a key"


class DocumentError(ValueError):
    """What is wrong in a file, and its line (from 1). `syntax`: it is not even YAML."""

    def __init__(self, cause: str, *, line: int) -> None:
        super().__init__(cause)
        self.line = line

    @property
    def syntax(self) -> bool:
        """Whether the text could not be parsed at all."""
        return str(self).startswith("is not valid YAML")


@dataclass(frozen=True)
class Bounds:
    """What one file may grow to. `size`: nodes plus characters, aliases expanded; `depth`: nesting levels."""

    size: int = 24 * 1024 * 1024
    aliased: int = 256 * 1024
    depth: int = 100


@dataclass
class _Anchored:
    """What an anchor names: its value, the size and the height (levels) of that value."""

    value: Any
    size: int
    height: int
    closed: bool = True


@dataclass
class _Frame:
    """A mapping or list being built. `key` is the key that waits for its value."""

    value: Any
    line: int
    path: Place | None
    anchor: _Anchored | None
    size: int = 1
    height: int = 1
    key: str | None = None
    merging: bool = False
    own: dict[str, int] = field(default_factory=dict)
    """Keys written in this mapping itself, with their lines."""
    is_merge_list: bool = False


class Composer:
    """Reads one chunk of text, which holds one document. `spent`: size that earlier documents of the file had."""

    def __init__(self, text: str, first_line: int, bounds: Bounds, spent: int = 0) -> None:
        self.text = text
        self.first_line = first_line
        self.bounds = bounds
        self.spent = spent
        self.line = first_line
        self.places: dict[Place, int] = {}
        self._aliased = 0
        self._anchors: dict[str, _Anchored] = {}
        self._stack: list[_Frame] = []
        self._root: Any = None
        self._documents = 0

    def run(self) -> Any:
        """The document's value. Raises DocumentError, or yaml's errors where it does not parse."""
        for event in yaml.parse(self.text, Loader=CSafeLoader):
            assert event.start_mark is not None
            line = self.first_line + event.start_mark.line
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event, line)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event, line)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._open(event, line)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                self._close(line)
            elif isinstance(event, yaml.DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    raise DocumentError("a second document must begin with a line '---'", line=line)
        return self._root

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        self._spend(len(event.value) + 1, line)
        frame = self._stack[-1] if self._stack else None
        is_key = frame is not None and isinstance(frame.value, dict) and frame.key is None and not frame.merging
        if is_key and event.value == "<<" and (event.implicit[0] or event.tag == _MERGE):
            assert frame is not None
            if "<<" in frame.own:
                raise DocumentError(f"key '<<' stands twice (first in line {frame.own['<<']})", line=line)
            frame.own["<<"] = line
            frame.merging = True
            return
        try:
            if event.tag:
                value = resolve_tagged(event.tag, event.value)
            else:
                value = resolve(event.value) if event.implicit[0] else event.value
            key = key_text(value) if is_key else ""
            if event.anchor or not is_key:
                value = to_json(value)
        except ScalarError as error:
            raise DocumentError(str(error), line=line) from None
        anchored = _Anchored(value, len(event.value) + 1, 0)
        if event.anchor:
            self._anchors[event.anchor] = anchored
        if is_key:
            assert frame is not None
            self._key(frame, key, line)
        else:
            self._place(anchored, line)

    def _key(self, frame: _Frame, key: str, line: int) -> None:
        if key in frame.own:
            raise DocumentError(f"{named(key)} stands twice (first in line {frame.own[key]})", line=line)
        frame.own[key] = line
        frame.key = key
        if frame.path is not None and len(frame.path) < _PLACES_DEPTH:
            self.places[(*frame.path, key)] = line

    def _open(self, event: yaml.CollectionStartEvent, line: int) -> None:
        if event.tag not in _COLLECTION_TAGS:
            raise DocumentError(UNKNOWN_TAG, line=line)
        self._spend(1, line)
        path: Place | None = ()
        is_list = isinstance(event, yaml.SequenceStartEvent)
        merge_list = False
        if self._stack:
            parent = self._stack[-1]
            if isinstance(parent.value, dict) and parent.key is None and not parent.merging:
                raise DocumentError("a mapping or list cannot be a key", line=line)
            if parent.is_merge_list and is_list:
                self._bad_merge(line)
            merge_list = parent.merging and is_list
            path = self._child_path(parent, line)
        else:
            self.line = line
        if len(self._stack) >= self.bounds.depth:
            raise DocumentError(f"is nested deeper than {self.bounds.depth} levels", line=line)
        anchor = None
        if event.anchor:
            anchor = self._anchors[event.anchor] = _Anchored(None, 0, 0, closed=False)
        value: Any = [] if is_list else {}
        self._stack.append(_Frame(value, line, path, anchor, is_merge_list=merge_list))

    def _child_path(self, parent: _Frame, line: int) -> Place | None:
        if parent.path is None or parent.merging or parent.is_merge_list or len(parent.path) >= _PLACES_DEPTH:
            return None
        if isinstance(parent.value, dict):
            return (*parent.path, parent.key or "")
        path = (*parent.path, len(parent.value))
        self.places[path] = line
        return path

    def _close(self, line: int) -> None:
        frame = self._stack.pop()
        if frame.anchor is not None:
            frame.anchor.value, frame.anchor.size, frame.anchor.height = frame.value, frame.size, frame.height
            frame.anchor.closed = True
        self._place(_Anchored(frame.value, frame.size, frame.height), frame.line)

    def _alias(self, event: yaml.AliasEvent, line: int) -> None:
        anchored = self._anchors.get(event.anchor or "")
        if anchored is None:
            raise DocumentError("an alias (a value that begins with '*') names no anchor above it", line=line)
        if not anchored.closed:
            raise DocumentError("an anchor contains itself", line=line)
        self._spend(anchored.size, line)
        self._aliased += anchored.size
        if self._aliased > self.bounds.aliased:
            raise DocumentError(f"aliases expand to more than {self.bounds.aliased} characters", line=line)
        if len(self._stack) + anchored.height > self.bounds.depth:
            raise DocumentError(f"is nested deeper than {self.bounds.depth} levels", line=line)
        frame = self._stack[-1]
        if isinstance(frame.value, dict) and frame.key is None and not frame.merging:
            if not isinstance(anchored.value, str):
                raise DocumentError("an alias used as a key must name a text", line=line)
            self._key(frame, anchored.value, line)
            return
        if frame.merging and isinstance(anchored.value, list):
            self._bad_merge(line)
        self._place(_Anchored(_copy(anchored.value), anchored.size, anchored.height), line)

    def _place(self, child: _Anchored, line: int) -> None:
        if not self._stack:
            self._root = child.value
            return
        frame = self._stack[-1]
        frame.size += child.size
        frame.height = max(frame.height, child.height + 1)
        if isinstance(frame.value, list):
            if frame.is_merge_list and not isinstance(child.value, dict):
                self._bad_merge(line)
            if frame.path is not None and len(frame.path) < _PLACES_DEPTH:
                self.places.setdefault((*frame.path, len(frame.value)), line)
            frame.value.append(child.value)
        elif frame.merging:
            self._merge(frame, child.value, line)
        else:
            frame.value[frame.key] = child.value
            frame.key = None

    def _merge(self, frame: _Frame, value: Any, line: int) -> None:
        frame.merging = False
        if isinstance(value, dict):
            frame.value.update(value)
        elif isinstance(value, list):
            for part in reversed(value):  # the earlier one takes precedence
                frame.value.update(part)
        else:
            self._bad_merge(line)

    def _bad_merge(self, line: int) -> None:
        raise DocumentError("'<<' takes a mapping or a list of mappings", line=line)

    def _spend(self, size: int, line: int) -> None:
        self.spent += size
        if self.spent > self.bounds.size:
            raise DocumentError(f"expands to more than {self.bounds.size} characters", line=line)


def _copy(value: Any) -> Any:
    """A deep copy; the depth bound has been checked."""
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_copy(part) for part in value]
    return value
