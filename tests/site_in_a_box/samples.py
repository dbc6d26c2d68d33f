"""A folder of sample manifests (`SAMPLES=DIR`) laid into an Atlas as apps, as they are.

Each entry below: a folder of the samples, and the app it becomes. A folder that is not there is left out. In a folder
with another layout every directory directly below it that holds manifests becomes an app; one with manifests directly
in it is one app, with all that lies below.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

KNOWN = {
    "podinfo": "podinfo/kustomize",
    "online-boutique": "online-boutique/kustomize",
}
MANIFESTS = (".yaml", ".yml", ".json")
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
OBJECT = re.compile(r'^\s*"?(apiVersion|kind)"?\s*:', re.MULTILINE)
"""In a manifest, and not in the other YAML and JSON that lies at the top of a repository."""


def folder() -> Path | None:
    """The folder that SAMPLES names; FileNotFoundError when it names none that exists."""
    named = os.environ.get("SAMPLES")
    if not named:
        return None
    path = Path(named)
    if not path.is_dir():
        raise FileNotFoundError(f"SAMPLES={named}: no such folder")
    if not apps(path):
        raise FileNotFoundError(f"SAMPLES={named}: no manifests in it, nor in a folder of it")
    return path


def apps(source: Path) -> dict[str, Path]:
    """App names and the folders they come from."""
    known = {app: source / part for app, part in KNOWN.items() if (source / part).is_dir()}
    if known:
        return known
    if any(_is_manifest(file) for file in source.iterdir()):
        return {_app_name(source): source}
    return {
        child.name: child
        for child in sorted(source.iterdir())
        if child.is_dir() and any(file.suffix in MANIFESTS for file in child.rglob("*"))
    }


def _is_manifest(file: Path) -> bool:
    if not file.is_file():
        return False
    if file.name in KUSTOMIZATIONS:
        return True
    return file.suffix in MANIFESTS and OBJECT.search(file.read_text(errors="replace")) is not None


def _app_name(source: Path) -> str:
    """An app's and a namespace's name, of a folder that may be called otherwise."""
    return re.sub(r"[^a-z0-9]+", "-", source.resolve().name.lower()).strip("-")[:63].strip("-") or "samples"


def lay_into(atlas: Path, source: Path) -> list[str]:
    """Copies each sample to `apps/<name>/manifests`, with a namespace of its own; returns the names."""
    chosen = apps(source)
    for name, path in chosen.items():
        app = atlas / "apps" / name
        shutil.copytree(path, app / "manifests", dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git"))
        (app / "app.yaml").write_text(
            f"v: 1\nowner: samples\nnamespace: {name}\nstage: 10\npath: manifests\ntimeout_seconds: 120\n"
        )
        own = app.parent / f"{name}-namespace"
        own.mkdir(exist_ok=True)
        (own / "app.yaml").write_text(f"v: 1\nowner: samples\nnamespace: {name}\nstage: 9\n")
        (own / "namespace.yaml").write_text(f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")
    return list(chosen)
