"""A second build of the image: from another checkout with other file times, on a machine of another name, at another
time. Needs root.

Without `whole` it shares what packages alone make (toolbox, base), as copies; with it those are made anew as well.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from images.nuc import build
from images.nuc.build import Built

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 1400
NOT_SOURCES = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__")


def build_elsewhere(image: Built, folder: Path, *, whole: bool) -> Path:
    """The folder that the second build made. Trees are made now, as apt judges signatures by the clock; the rest in
    forty days. Fails with the end of what the build said."""
    cache = folder / "elsewhere" / "cache"
    (cache / "nuc").mkdir(parents=True)
    shutil.copytree(build.toolbox().parent / "debs", cache / "nuc/debs")
    if not whole:
        for tree in (build.toolbox(), build.base()):
            subprocess.run(["cp", "-a", "--reflink=auto", str(tree), str(cache / "nuc")], check=True)
    checkout = folder / "elsewhere" / "checkout"
    shutil.copytree(ROOT, checkout, symlinks=True, ignore=NOT_SOURCES)
    subprocess.run(["find", str(checkout), "-exec", "touch", "-h", "-d", "2001-09-09", "{}", "+"], check=True)
    trees = "from images.nuc import build; build.toolbox(); build.base()"
    script = f'hostname elsewhere && "$1" -c "{trees}" && exec faketime -f +40d "$1" images/nuc/build.py'
    done = subprocess.run(
        ["unshare", "--uts", "sh", "-c", script, "build", sys.executable],
        env={
            **os.environ,
            "GALLEY_CACHE": str(cache),
            "PYTHONPATH": str(checkout),
            "SOURCE_DATE_EPOCH": (image.folder / "epoch").read_text().strip(),
            "TZ": "Asia/Tokyo",
        },
        cwd=checkout, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise AssertionError(f"the build elsewhere failed ({done.returncode}):\n{done.stderr[-3000:]}")
    return Path(done.stdout.splitlines()[-1])


def differing(first: Path, second: Path) -> list[str]:
    """Names of the files that are not the same in both folders, or in one alone."""
    names = {path.name for folder in (first, second) for path in folder.iterdir()} - build.VARIES
    return sorted(name for name in names if _digest(first / name) != _digest(second / name))


def _digest(file: Path) -> str:
    if not file.is_file():
        return ""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
