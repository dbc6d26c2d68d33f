"""One kustomization to manifests, each with the file and line it comes from.

kustomize tells where an object comes from only when a top-level kustomization asks for `originAnnotations`. So a
kustomization of our own, beside the tree and gone afterwards, has the Atlas' one as its only resource; the
annotation is taken off again. What holds at top level only (`buildMetadata`, `sortOptions`) is repeated there.
"""

from __future__ import annotations

import asyncio
import json
import os
import posixpath
import re
import tempfile
from pathlib import Path
from typing import Any

from agents.contracts.messages import Problem
from agents.core.errors import Rejected
from vessel.model import Manifest
from vessel.reading.documents import Document, DocumentError, read_documents
from vessel.reading.kustomization import Scan, scan, without_credentials
from vessel.reading.kustomize import Kustomizer
from vessel.reading.objects import Report, manifests_of
from vessel.reading.tree import Tree

ORIGIN = "config.kubernetes.io/origin"
_YAML_LINE = re.compile(r"yaml: line (\d+):")
_NOISE = re.compile(r"^.*(?:recursed accumulation of path|couldn't make target for path) '[^']*': ")
_CAUSE_LENGTH = 1000
_GENERATOR = re.compile(
    r"loading KV pairs|(?:literal|env|file) sources?\b|illegally repeats|valid key name|key=value|NewSecret",
    re.IGNORECASE,
)
_GENERATOR_CAUSE = (
    "a generator's sources are not taken: each literal and each line of an env file must be key=value, with a valid"
    " key that stands once; each file must lie in or below the kustomization's directory"
)


async def render(tree: Tree, directory: str, kustomizer: Kustomizer, report: Report) -> list[Manifest]:
    """The manifests; what is wrong goes to `report`. Raises Retryable when kustomize could not run."""
    found = await asyncio.to_thread(scan, tree, directory)
    for problem in found.problems:
        report(problem)
    if found.problems:
        return []
    file = tree.kustomization(directory)
    top = found.kustomizations[file].value
    with tempfile.TemporaryDirectory(prefix="vessel-kustomize-") as temporary:
        scratch = Path(temporary).resolve()
        target = _wrap(scratch, tree.root / directory, top)
        try:
            output = await kustomizer.build(target, scratch)
        except Rejected as error:
            cause, line = explain(error.cause, scratch, tree.root)
            report(Problem(file=file, line=line, cause=cause))
            return []
        return await asyncio.to_thread(_read_output, output, _Origins(tree, scratch, found, top), file, report)


def _wrap(scratch: Path, directory: Path, top: dict[str, Any]) -> Path:
    if "openapi" in top:  # holds at top level only, and its path is relative: leave it there, without origins
        return directory
    metadata = top.get("buildMetadata")
    wanted = [*metadata] if isinstance(metadata, list) else []
    wrapper: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(directory, scratch)],
        "buildMetadata": [*wanted, *(["originAnnotations"] if "originAnnotations" not in wanted else [])],
    }
    if "sortOptions" in top:
        wrapper["sortOptions"] = top["sortOptions"]
    (scratch / "kustomization.yaml").write_text(json.dumps(wrapper))
    return scratch


def _read_output(output: bytes, origins: _Origins, file: str, report: Report) -> list[Manifest]:
    try:
        documents = read_documents(output)
    except DocumentError as error:
        report(Problem(file=file, cause=f"kustomize's output: {error}"))
        return []
    manifests: list[Manifest] = []
    for document in documents:
        place, line = origins.take(document.value, file)

        def at_place(problem: Problem, place: str = place, line: int = line) -> None:
            report(Problem(cause=problem.cause, file=place, line=line, object=problem.object, path=problem.path))

        manifests += [
            Manifest(ref=manifest.ref, body=manifest.body, file=place, line=line)
            for manifest in manifests_of([document], place, at_place)
        ]
    return manifests


class _Origins:
    """Finds where a rendered object was written."""

    def __init__(self, tree: Tree, scratch: Path, found: Scan, top: dict[str, Any]) -> None:
        self._tree = tree
        self._scratch = scratch
        self._found = found
        metadata = top.get("buildMetadata")
        self._keep = isinstance(metadata, list) and "originAnnotations" in metadata

    def take(self, value: Any, file: str) -> tuple[str, int]:
        """File and line of an object, and its origin annotation taken off; `file` and 0 where it is not known."""
        metadata = value.get("metadata") if isinstance(value, dict) else None
        annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
        if not isinstance(metadata, dict) or not isinstance(annotations, dict) or ORIGIN not in annotations:
            return file, 0
        text = annotations[ORIGIN]
        if not self._keep:
            del annotations[ORIGIN]
            if not annotations:
                del metadata["annotations"]
        try:
            origin = read_documents(str(text).encode())[0].value
        except (DocumentError, IndexError):
            return file, 0
        name = str(metadata.get("name"))
        if isinstance(origin, dict) and "path" in origin:
            source = self._relative(origin["path"])
            return source or file, self._line(source, value.get("kind"), name)
        if isinstance(origin, dict) and "configuredIn" in origin:
            source = self._relative(origin["configuredIn"])
            return source or file, self._generator_line(source, name)
        return file, 0

    def _relative(self, path: Any) -> str:
        full = posixpath.normpath(posixpath.join(str(self._scratch), str(path)))
        root = str(self._tree.root)
        return posixpath.relpath(full, root) if full.startswith(root + "/") else ""

    def _line(self, source: str, kind: Any, name: str) -> int:
        """The line of the object in its file: kustomize may have put a prefix and a suffix around its name."""
        best, line = -1, 0
        for document in self._found.documents.get(source, ()):
            for manifest in manifests_of([document], source, lambda _: None):
                written = manifest.ref.name
                if manifest.ref.kind != kind or written not in name:
                    continue
                score = len(written) + (1000 if written == name else 0)
                if score > best:
                    best, line = score, manifest.line
        documents = self._found.documents.get(source)
        return line or (documents[0].line if documents else 0)

    def _generator_line(self, source: str, name: str) -> int:
        document = self._found.kustomizations.get(source)
        if document is None or not isinstance(document.value, dict):
            return 0
        best, line = -1, 0
        for key in ("configMapGenerator", "secretGenerator"):
            for index, entry in enumerate(_list(document, key)):
                written = entry.get("name") if isinstance(entry, dict) else None
                if isinstance(written, str) and written in name and len(written) > best:
                    best, line = len(written), document.line_of(key, index)
        return line


def _list(document: Document, key: str) -> list[Any]:
    value = document.value.get(key)
    return value if isinstance(value, list) else []


def explain(said: str, scratch: Path, root: Path) -> tuple[str, int]:
    """kustomize's words for a person, and a line if they name one: the innermost cause, no paths of this machine.

    It may quote a whole patch (`from [...]`), which may be a Secret's: that is left out. What it says of a generator
    is made of the generator's values: other words stand for all of it.
    """
    lines = [line for line in said.splitlines() if line.strip()]
    if _GENERATOR.search(said):
        return f"kustomize: {_GENERATOR_CAUSE}", 0
    text = lines[-1] if lines else "failed without a word"
    text = next((told for told in lines if told.startswith(("error:", "Error:")) or 'err="' in told), text)
    if match := re.search(r'err="(.*)"$', text):
        text = match[1].replace('\\"', '"').replace("\\n", " ")
    text = text.removeprefix("error: ").removeprefix("Error: ")
    text = _NOISE.sub("", text).replace(f"{root}/", "").replace(str(root), ".")
    text = text.replace(f"{os.path.relpath(root, scratch)}/", "").replace(str(scratch), ".")
    text = re.sub(r"\[(?=[^\]]*[:{\n])[^\]]*\]?.*", "[...]", text)
    text = re.sub(r"(node contents|with config|config was):.*", r"\1: ...", text, flags=re.DOTALL)
    text = re.sub(r"(?i)\b(stringData|data)\b\s*:.*", r"\1: ...", text)
    named = _YAML_LINE.search(text)
    line = int(named[1]) if named else 0
    return f"kustomize: {without_credentials(text)[:_CAUSE_LENGTH]}", line
