"""From documents to manifests: lists taken apart, what the API server alone may set refused. Pure.

`status` is dropped, as kubectl and Flux do: it never belongs to an applied configuration. Other fields that
the server sets (`managedFields`, `resourceVersion`, `uid`, ...) are refused: server-side apply would fail on
them, or make an apply conditional on a state that nobody meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from agents.contracts.messages import Problem
from vessel.model import Manifest, Ref
from vessel.reading.documents import Document

Report = Callable[[Problem], None]

_API_VERSION = re.compile(r"(?:[a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[a-z0-9]+")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.:]*[A-Za-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SERVER_FIELDS = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
_LIST_LEVELS = 5


@dataclass(frozen=True)
class _Found:
    """One object as written, and its document with the path to it."""

    value: Any
    document: Document
    path: tuple[str | int, ...] = ()

    def line(self, *path: str | int) -> int:
        return self.document.line_of(*self.path, *path)


def manifests_of(documents: Iterable[Document], file: str, report: Report) -> list[Manifest]:
    """The manifests of one file; what is wrong goes to `report`, and its object is left out."""
    manifests = []
    for document in documents:
        for found in _take_apart(_Found(document.value, document), file, report):
            manifest = _manifest(found, file, report)
            if manifest is not None:
                manifests.append(manifest)
    return manifests


def _take_apart(found: _Found, file: str, report: Report, level: int = 0) -> Iterator[_Found]:
    """A `List`, or a typed list such as ConfigMapList, becomes its items; the latter inherit version and kind."""
    value = found.value
    is_list = isinstance(value, dict) and isinstance(value.get("kind"), str) and value["kind"].endswith("List")
    if not is_list or not isinstance(value.get("items"), list | None) or "items" not in value:
        yield found
        return
    if level >= _LIST_LEVELS:
        report(Problem(file=file, line=found.line(), cause=f"lists within lists, more than {_LIST_LEVELS} deep"))
        return
    for index, item in enumerate(value["items"] or ()):
        inherited = value["kind"].removesuffix("List")
        if isinstance(item, dict) and inherited and "kind" not in item:
            item = {"apiVersion": value.get("apiVersion"), "kind": inherited, **item}  # noqa: PLW2901
        yield from _take_apart(_Found(item, found.document, (*found.path, "items", index)), file, report, level + 1)


def _manifest(found: _Found, file: str, report: Report) -> Manifest | None:
    body = found.value
    if not isinstance(body, dict):
        report(Problem(file=file, line=found.line(), cause=f"must be an object, is {kind_of(body)}"))
        return None
    problems: list[tuple[tuple[str | int, ...], str]] = []
    version, kind = body.get("apiVersion"), body.get("kind")
    _text(version, _API_VERSION, ("apiVersion",), "is not a version such as v1 or apps/v1", problems)
    _text(kind, _KIND, ("kind",), "is not a kind", problems)
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        cause = "is required" if metadata is None else f"must be a mapping, is {kind_of(metadata)}"
        problems.append((("metadata",), cause))
        metadata = {}
    else:
        _check_metadata(metadata, problems)
    label = " ".join(text for text in (kind, metadata.get("name")) if isinstance(text, str))[:256]
    for path, cause in problems:
        written = ".".join(str(part) for part in path)
        report(Problem(file=file, line=found.line(*path), object=label, path=written, cause=cause))
    if problems:
        return None
    clean = {key: value for key, value in body.items() if key != "status"}
    clean["metadata"] = {k: v for k, v in metadata.items() if not (k in _SERVER_FIELDS and v is None)}
    ref = Ref(str(version), str(kind), metadata.get("namespace") or "", metadata["name"])
    return Manifest(ref=ref, body=clean, file=file, line=found.line())


def _check_metadata(metadata: dict[str, Any], problems: list[tuple[tuple[str | int, ...], str]]) -> None:
    at = "metadata"
    if "generateName" in metadata:
        cause = "is refused: an object of the Atlas needs a fixed name, or each pass would create another"
        problems.append(((at, "generateName"), cause))
    elif metadata.get("name") is None:
        problems.append(((at, "name"), "is required"))
    if metadata.get("name") is not None:
        _text(metadata["name"], _NAME, (at, "name"), "is not a name", problems)
    if metadata.get("namespace") is not None:
        _text(metadata["namespace"], _NAMESPACE, (at, "namespace"), "is not a namespace's name", problems)
    for name in _SERVER_FIELDS:
        if metadata.get(name) is not None:
            problems.append(((at, name), "is set by the API server alone: remove it"))
    for name in ("labels", "annotations"):
        values = metadata.get(name)
        if values is None:
            continue
        if not isinstance(values, dict):
            problems.append(((at, name), f"must be a mapping, is {kind_of(values)}"))
            continue
        problems.extend(
            ((at, name, key), f"must be a text, is {kind_of(value)}: put it in quotes")
            for key, value in values.items()
            if not isinstance(value, str)
        )


def _text(
    value: Any,
    pattern: re.Pattern[str],
    path: tuple[str | int, ...],
    cause: str,
    problems: list[tuple[tuple[str | int, ...], str]],
) -> None:
    if value is None:
        problems.append((path, "is required"))
    elif not isinstance(value, str):
        problems.append((path, f"must be a text, is {kind_of(value)}: put it in quotes"))
    elif len(value) > 253 or not pattern.fullmatch(value):
        problems.append((path, cause))


def kind_of(value: Any) -> str:
    """What a JSON value is, for people."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a mapping"}
    return names.get(type(value), "empty")
