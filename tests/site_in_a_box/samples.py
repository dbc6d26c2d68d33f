"""A folder of sample manifests (`SAMPLES=DIR`) laid into an Atlas as apps, as they are.

Each entry below: a folder of the samples, and the app it becomes. A folder that is not there is left out. In a folder
with another layout every directory directly below it that holds manifests becomes an app; one with manifests directly
in it is one app, with all that lies below.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

KNOWN = {
    "podinfo": "podinfo/kustomize",
    "online-boutique": "online-boutique/kustomize",
}
MANIFESTS = (".yaml", ".yml", ".json")


def folder() -> Path | None:
    """The folder that SAMPLES names; FileNotFoundError when it names none that exists."""
    named = os.environ.get("SAMPLES")
    if not named:
        return None
    path = Path(named)
    if not path.is_dir():
        raise FileNotFoundError(f"SAMPLES={named}: no such folder")
    if not apps(path):
        raise FileNotFoundError(f"SAMPLES={named}: no folder with manifests in it")
    return path


def apps(source: Path) -> dict[str, Path]:
    """App names and the folders they come from."""
    known = {app: source / part for app, part in KNOWN.items() if (source / part).is_dir()}
    if known:
        return known
    return {
        child.name: child
        for child in sorted(source.iterdir())
        if child.is_dir() and any(file.suffix in MANIFESTS for file in child.rglob("*"))
    }


def lay_into(atlas: Path, source: Path) -> list[str]:
    """Copies each sample to `apps/<name>/manifests`, with a namespace of its own; returns the names."""
    chosen = apps(source)
    for name, path in chosen.items():
        app = atlas / "apps" / name
        shutil.copytree(path, app / "manifests", dirs_exist_ok=True)
        (app / "app.yaml").write_text(
            f"v: 1\nowner: samples\nnamespace: {name}\nstage: 10\npath: manifests\ntimeout_seconds: 120\n"
        )
        own = app.parent / f"{name}-namespace"
        own.mkdir(exist_ok=True)
        (own / "app.yaml").write_text(f"v: 1\nowner: samples\nnamespace: {name}\nstage: 9\n")
        (own / "namespace.yaml").write_text(f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")
    return list(chosen)
