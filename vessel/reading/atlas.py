"""A commit's tree to an Atlas: apps, plain files and kustomizations, with every problem found. Reads the tree.

With a directory `apps/`, each directory in it is an app; without, all manifests are one app called `default`.
A directory with a kustomization is rendered by kustomize; in a plain one every .yaml, .yml and .json file below
it is read, and a subdirectory with a kustomization is one unit (as Flux does), left out if it is a Component.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from agents.contracts.messages import Problem
from vessel.model import App, AppSpec, Atlas, AtlasRefused, Commit, Manifest
from vessel.reading.apps import app_spec, check_app_name
from vessel.reading.documents import DocumentError, read_documents
from vessel.reading.duplicates import duplicates
from vessel.reading.kustomization import is_component
from vessel.reading.kustomize import Kustomizer
from vessel.reading.objects import Report, manifests_of
from vessel.reading.render import render
from vessel.reading.tree import YAML_SUFFIXES, FileRefused, Tree, TreeBounds, join

_MAX_PROBLEMS = 200
_MAX_OBJECTS = 10_000
_LINK = "is a symbolic link to a directory, which is not followed here: apps/ and each app in it are directories"


class _Problems(list[Problem]):
    """Problems so far; past a bound the rest is not kept."""

    def add(self, problem: Problem) -> None:
        if len(self) < _MAX_PROBLEMS:
            self.append(problem)


async def read_atlas(
    root: Path, commit: Commit, kustomize: Kustomizer, *, path: str = ".", bounds: TreeBounds | None = None
) -> Atlas:
    """Reads the whole tree. `path`: the directory in it that is the Atlas (kustomizations may use all of the tree).

    Raises AtlasRefused with all problems, Retryable when kustomize could not run. Files are given relative to `root`.
    """
    problems = _Problems()
    try:
        tree = await asyncio.to_thread(Tree.open, root, bounds)
    except OSError as error:
        raise AtlasRefused([Problem(file=".", cause=f"cannot be read: {error.strerror}")]) from None
    if tree.problems:
        raise AtlasRefused(tree.problems)
    base = Path(path).as_posix()
    if base not in tree.directories:
        raise AtlasRefused([Problem(file=path, cause="the Atlas has no such directory")])
    specs = await asyncio.to_thread(_specs, tree, base, problems.add)
    apps = [App(spec, tuple(await _manifests(tree, spec, kustomize, problems.add))) for spec in specs]
    for problem in duplicates(apps):
        problems.add(problem)
    if (count := sum(len(app.manifests) for app in apps)) > _MAX_OBJECTS:
        problems.add(Problem(file=base, cause=f"has {count} objects, more than {_MAX_OBJECTS}"))
    if problems:
        raise AtlasRefused(list(problems))
    return Atlas(commit=commit, apps=tuple(apps))


def _specs(tree: Tree, base: str, report: Report) -> list[AppSpec]:
    folder = join(base, "apps")
    if folder not in tree.directories:
        if tree.is_directory(folder):
            report(Problem(file=folder, cause=_LINK))
            return []
        return [AppSpec(name="default", path=base)]
    specs: list[AppSpec] = []
    for name in tree.directories[folder]:
        directory = join(folder, name)
        if name.startswith("."):
            continue
        if directory not in tree.directories:
            if tree.is_directory(directory):
                report(Problem(file=directory, cause=_LINK))
            elif name.endswith(YAML_SUFFIXES):
                report(Problem(file=directory, cause="belongs to no app: it must lie in a directory of its own"))
            continue
        spec = _spec(tree, name, directory, report)
        if spec is not None:
            specs.append(spec)
    return specs


def _spec(tree: Tree, name: str, directory: str, report: Report) -> AppSpec | None:
    file = join(directory, "app.yaml")
    if cause := check_app_name(name):
        report(Problem(file=directory, cause=cause))
        return None
    if not tree.exists(file):
        report(Problem(file=file, cause="is missing: each directory below apps/ is an app and says who owns it"))
        return None
    try:
        spec = app_spec(name, file, read_documents(tree.read(file)), report)
    except FileRefused as error:
        report(Problem(file=file, cause=str(error)))
        return None
    except DocumentError as error:
        report(Problem(file=file, line=error.line, cause=str(error)))
        return None
    if spec is not None and spec.path not in tree.directories:
        report(Problem(file=file, path="path", cause=f"{spec.path!r} is no directory of the Atlas"))
        return None
    return spec


async def _manifests(tree: Tree, spec: AppSpec, kustomize: Kustomizer, report: Report) -> list[Manifest]:
    if tree.kustomization(spec.path):
        return await render(tree, spec.path, kustomize, report)
    manifests: list[Manifest] = []
    for place, is_unit in tree.manifest_files(spec.path):
        if place == spec.file:
            continue
        if is_unit:
            if not await asyncio.to_thread(is_component, tree, place):
                manifests += await render(tree, place, kustomize, report)
        else:
            manifests += await asyncio.to_thread(_read_file, tree, place, report)
    return manifests


def _read_file(tree: Tree, file: str, report: Report) -> list[Manifest]:
    try:
        return manifests_of(read_documents(tree.read(file)), file, report)
    except FileRefused as error:
        report(Problem(file=file, cause=str(error)))
    except DocumentError as error:
        report(Problem(file=file, line=error.line, cause=str(error)))
    return []
