"""Bytes of a manifest file to documents with their places, as `kubectl create -f` splits and reads them. Pure.

Lines beginning with `---` separate documents whatever stands around them; a file that begins with `{` is
JSON first. Deliberate differences from kubectl: refused are duplicate keys, also after conversion (`1` and `"1"`),
what follows a `...` line or a whole value (kubectl drops it without a word), tags of one's own (there a text),
and bytes that are not UTF-8 (there U+FFFD). JSON's `\\/` is also taken in YAML.
Rules: k8s.io/apimachinery `util/yaml/decoder.go`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from vessel.reading.composer import Bounds, Composer, DocumentError, Place, named
from vessel.reading.scalars import ScalarError, to_json

__all__ = ["Bounds", "Document", "DocumentError", "Place", "read_documents"]


@dataclass(frozen=True)
class Document:
    """One document: its JSON `value`, its first line (from 1) and the lines of its upper levels."""

    value: Any = field(repr=False)
    line: int
    places: dict[Place, int] = field(default_factory=dict, repr=False)

    def line_of(self, *path: str | int) -> int:
        """The line of what stands at `path`, or of the nearest level above it whose line is known."""
        while path:
            if path in self.places:
                return self.places[path]
            path = path[:-1]
        return self.line


def read_documents(data: bytes, bounds: Bounds | None = None) -> list[Document]:
    """All documents that are not empty. Raises DocumentError for the first thing wrong in the file."""
    bounds = bounds or Bounds()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise DocumentError("is not UTF-8 text", line=data.count(b"\n", 0, error.start) + 1) from None
    if text.lstrip().startswith("{"):
        return _read_json_stream(text, bounds)
    return _read_yaml(text, 1, bounds)


def _read_yaml(text: str, first_line: int, bounds: Bounds) -> list[Document]:
    # As Go's bufio: only \n (or \r\n) ends a line, and the last line always ends in one.
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    documents: list[Document] = []
    start, spent = 0, 0
    for index, line in enumerate([*lines, "---"]):
        if not line.startswith("---"):
            continue
        rest = line[3:].strip()
        if rest and not rest.startswith("#"):
            cause = "only a comment may follow the document separator '---' on its line"
            raise DocumentError(cause, line=first_line + index)
        chunk = lines[start:index]
        if any(part.strip() for part in chunk):
            composer = Composer("\n".join([*chunk, ""]), first_line + start, bounds, spent)
            document = _compose(composer)
            spent = composer.spent
            if document.value is not None:
                documents.append(document)
        start = index + 1
    return documents


def _compose(composer: Composer) -> Document:
    try:
        value = composer.run()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = composer.first_line + mark.line if mark else composer.first_line
        cause = " ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError(f"is not valid YAML: {cause}", line=line) from None
    except yaml.reader.ReaderError as error:
        line = composer.first_line + composer.text.encode()[: error.position].count(b"\n")
        raise DocumentError(f"is not valid YAML: {error.reason}", line=line) from None
    return Document(value, composer.line, composer.places)


class _DuplicateError(Exception):
    """A key that stands twice in one JSON object."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        raise _DuplicateError(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return found


def _constant(name: str) -> NoReturn:
    raise ScalarError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs,
    parse_int=lambda text: to_json(int(text)) if len(text) < 400 else _constant("a number of such length"),
    parse_float=lambda text: to_json(float(text)),
    parse_constant=_constant,
)
_SPACE = re.compile(r"[ \t\r\n]*")


def _read_json_stream(text: str, bounds: Bounds) -> list[Document]:
    """One JSON value after the other; what is no JSON, from there on, is read as YAML."""
    documents: list[Document] = []
    position = _skip_space(text, 0)
    while position < len(text):
        line = text.count("\n", 0, position) + 1
        if text.startswith("---", position):
            return documents + _read_yaml(text[position:], line, bounds)
        try:
            value, end = _DECODER.raw_decode(text, position)
            json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate is no text
        except RecursionError:
            raise DocumentError("is nested too deeply", line=line) from None
        except UnicodeEncodeError:
            raise DocumentError("holds half of a surrogate pair, which is no text", line=line) from None
        except ScalarError as error:
            raise DocumentError(str(error), line=line) from None
        except _DuplicateError as error:
            _read_yaml(text[position:], line, bounds)  # raises it with its line
            raise DocumentError(f"{named(str(error))} stands twice", line=line) from None
        except ValueError as error:
            return _rest_as_yaml(text[position:], line, documents, bounds, error)
        if depth_of(value) > bounds.depth:
            raise DocumentError(f"is nested deeper than {bounds.depth} levels", line=line)
        documents.append(Document(value, line))
        position = _skip_space(text, end)
    return documents


def _rest_as_yaml(text: str, line: int, documents: list[Document], bounds: Bounds, error: ValueError) -> list[Document]:
    try:
        return documents + _read_yaml(text, line, bounds)
    except DocumentError as as_yaml:
        if isinstance(error, json.JSONDecodeError) and as_yaml.syntax:
            raise DocumentError(f"is not valid JSON: {error.msg}", line=line + error.lineno - 1) from None
        raise


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def depth_of(value: Any) -> int:
    """How many levels of mappings and lists a JSON value has, without recursion."""
    depth, level = 0, [value]
    while level := [child for child in level if isinstance(child, dict | list)]:
        depth += 1
        level = [part for child in level for part in (child.values() if isinstance(child, dict) else child)]
    return depth
