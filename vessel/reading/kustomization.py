"""What a kustomization reaches, checked before kustomize runs: nothing remote, nothing outside the tree.

kustomize fetches whatever looks like an address (`sigs.k8s.io/kustomize/api/internal/git/repospec.go`) and takes
bases from any directory of the machine; its own restriction covers files alone. So each reference is followed
here, and each manifest file on the way is parsed, so that errors in it have a file and a line. Reads the tree.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agents.contracts.messages import Problem
from vessel.reading.documents import Document, DocumentError, read_documents
from vessel.reading.tree import YAML_SUFFIXES, FileRefused, Tree

_REMOTE = re.compile(
    r"\s*(?:git::|[a-z][a-z0-9+.-]*://|file:|gh:|[a-z][a-z0-9-]*@|(?:www\.)?github\.com[/:])", re.IGNORECASE
)
_ADDRESS = re.compile(r"^\s*(?:[^=\n]*=)?\s*https?:", re.IGNORECASE)
_MAY_BE_DIRECTORIES = ("resources", "components", "bases", "generators", "transformers", "validators")
_PLUGINS = ("generators", "transformers", "validators")
_MAY_BE_INLINE = (*_PLUGINS, "patchesStrategicMerge")
_FILES = ("crds", "configurations", "patchesStrategicMerge")
_WITH_PATH = ("patches", "patchesJson6902", "replacements")
_GENERATORS = ("configMapGenerator", "secretGenerator")
_KNOWN = frozenset(
    {*_MAY_BE_DIRECTORIES, *_FILES, *_WITH_PATH, *_GENERATORS}
    | {"apiVersion", "kind", "metadata", "openapi", "namePrefix", "nameSuffix", "namespace", "commonLabels", "labels"}
    | {"commonAnnotations", "images", "imageTags", "replicas", "vars", "sortOptions", "generatorOptions"}
    | {"buildMetadata"}
)
"""Every field of a Kustomization that is taken, as it is spelt (`api/types/kustomization.go`)."""
_NESTED = frozenset({"path", "files", "envs", "env"})
"""The fields below them that name files."""
_REFUSED = ("helmCharts", "helmChartInflationGenerator", "helmGlobals")
_MAX_DIRECTORIES = 500

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Reference:
    """One reference as written, where it stands, and whether its content is Kubernetes YAML."""

    text: str
    path: Path
    is_yaml: bool = True


@dataclass
class Scan:
    """All that was found: problems, and the documents of every file that was parsed, by path."""

    problems: list[Problem] = field(default_factory=list)
    documents: dict[str, list[Document]] = field(default_factory=dict)
    kustomizations: dict[str, Document] = field(default_factory=dict)


def scan(tree: Tree, directory: str) -> Scan:
    """Follows everything that the kustomization in `directory` refers to."""
    found = Scan()
    waiting, seen = [directory], {directory}
    while waiting:
        if len(seen) > _MAX_DIRECTORIES:
            found.problems.append(Problem(file=directory, cause=f"reaches more than {_MAX_DIRECTORIES} directories"))
            break
        here = waiting.pop()
        for target in _visit(tree, here, found):
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    return found


def is_component(tree: Tree, directory: str) -> bool:
    """Whether a directory's kustomization is a Component: a part that stands for nothing by itself."""
    try:
        documents = read_documents(tree.read(tree.kustomization(directory)))
    except (FileRefused, DocumentError):
        return False
    return any(isinstance(d.value, dict) and d.value.get("kind") == "Component" for d in documents)


def _visit(tree: Tree, directory: str, found: Scan) -> Iterator[str]:
    """Checks one kustomization; yields the directories it refers to."""
    file = tree.kustomization(directory)
    if not file:
        found.problems.append(Problem(file=directory, cause="has no kustomization.yaml"))
        return
    documents = _parse(tree, file, found)
    if documents is None:
        return
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        found.problems.append(Problem(file=file, cause="must hold one mapping"))
        return
    document = found.kustomizations[file] = documents[0]
    _check_fields(document, file, found)
    for reference in references(document.value):
        target = posixpath.normpath(posixpath.join(directory, reference.text))
        cause = _refusal(tree, reference, target)
        if cause:
            line, path = document.line_of(*reference.path), _written(reference.path)
            found.problems.append(Problem(file=file, line=line, path=path, cause=cause))
        elif tree.is_directory(target):
            if reference.path[0] in _MAY_BE_DIRECTORIES:
                yield target
        elif reference.is_yaml and target.endswith(YAML_SUFFIXES) and target not in found.documents:
            _parse(tree, target, found)


def _check_fields(document: Document, file: str, found: Scan) -> None:
    """What a kustomization may not have at all, apart from its references."""
    for key in _REFUSED:
        if key in document.value:
            cause = "Helm charts are not inflated: render the chart and commit the result"
            found.problems.append(Problem(file=file, line=document.line_of(key), path=key, cause=cause))
    for place, cause in _misspelt(document.value):
        line = document.line_of(*place)
        found.problems.append(Problem(file=file, line=line, path=_written(place)[:256], cause=cause))
    for key in _PLUGINS:
        for index, text in enumerate(_list(document.value.get(key))):
            for inner in _inline(text) if isinstance(text, str) else ():
                _check_plugin(inner, file, document.line_of(key, index), found)


def _misspelt(value: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Fields that kustomize would take although they are not looked at here: it reads names without regard to case."""
    for key in value:
        if key not in _KNOWN and key not in _REFUSED:
            spelt = {known.casefold(): known for known in (*_KNOWN, *_REFUSED)}.get(key.casefold())
            yield (key,), f"must be spelt {spelt!r}" if spelt else "is no field of a kustomization"
    openapi = value.get("openapi")
    entries: list[tuple[Path, dict[str, Any]]] = [(("openapi",), openapi)] if isinstance(openapi, dict) else []
    entries += [((k, index), e) for k in (*_WITH_PATH, *_GENERATORS) for index, e in _entries(value.get(k))]
    for path, entry in entries:
        for key in entry:
            if key not in _NESTED and key.casefold() in _NESTED:
                yield (*path, key), f"must be spelt {key.casefold()!r}"


def _refusal(tree: Tree, reference: Reference, target: str) -> str:
    shown = reference.text[:200]
    if not reference.text.isprintable():
        return "must be a path on one line, without control characters"
    if _REMOTE.match(reference.text):
        return f"{without_credentials(shown)!r} is remote: the Atlas must hold everything itself"
    if reference.text.startswith("/"):
        return f"{shown!r} must be relative"
    if target == ".." or target.startswith("../"):
        return f"{shown!r} leads out of the repository"
    if target.split("/", 1)[0] == ".git":
        return f"{shown!r} is no part of the commit"
    return "" if tree.exists(target) else f"{shown!r}: no such file or directory"


def references(value: dict[str, Any]) -> Iterator[Reference]:
    """Every path in a kustomization. Inline YAML is none."""
    for key in (*_MAY_BE_DIRECTORIES, *_FILES):
        yield from _texts(value.get(key), (key,))
    for key in _WITH_PATH:
        for index, entry in _entries(value.get(key)):
            yield from _texts([entry.get("path")], (key, index), leaf="path")
    for key in _GENERATORS:
        for index, entry in _entries(value.get(key)):
            for name in ("files", "envs"):
                for found in _texts(entry.get(name), (key, index, name)):
                    yield Reference(found.text.rpartition("=")[2], found.path, is_yaml=False)
            for found in _texts([entry.get("env")], (key, index), leaf="env"):
                yield Reference(found.text, found.path, is_yaml=False)
    if isinstance(value.get("openapi"), dict):
        yield from _texts([value["openapi"].get("path")], ("openapi",), leaf="path")


def _texts(values: Any, path: Path, leaf: str = "") -> Iterator[Reference]:
    for index, text in enumerate(_list(values)):
        if isinstance(text, str) and text and not (path[0] in _MAY_BE_INLINE and _inline(text)):
            yield Reference(text, (*path, leaf or index))


def _inline(text: str) -> list[Document]:
    """The objects that a text itself is, where kustomize takes those as well as paths; empty for a path."""
    try:
        documents = read_documents(text.encode())
    except (DocumentError, UnicodeEncodeError):
        return []
    return documents if all(isinstance(document.value, dict) for document in documents) else []


def _list(values: Any) -> list[Any]:
    return values if isinstance(values, list) else []


def _entries(values: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, entry in enumerate(_list(values)):
        if isinstance(entry, dict):
            yield index, entry


def _parse(tree: Tree, file: str, found: Scan) -> list[Document] | None:
    try:
        documents = found.documents[file] = read_documents(tree.read(file))
    except FileRefused as error:
        found.problems.append(Problem(file=file, cause=str(error)))
        return None
    except DocumentError as error:
        found.problems.append(Problem(file=file, line=error.line, cause=str(error)))
        return None
    for document in documents:
        _check_plugin(document, file, document.line, found)
    return documents


def _check_plugin(document: Document, file: str, line: int, found: Scan) -> None:
    """kustomize's own generators and transformers take addresses too, wherever they name a file."""
    if not isinstance(document.value, dict) or document.value.get("apiVersion") != "builtin":
        return
    waiting: list[Any] = [document.value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and _ADDRESS.search(value):
            cause = "a plugin of kustomize may not name an address: the Atlas must hold everything itself"
            found.problems.append(Problem(file=file, line=line, cause=cause))
            return


def _written(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def without_credentials(text: str) -> str:
    """An address without what stands between `//` and `@`."""
    return re.sub(r"//[^/@]*@", "//", text)
