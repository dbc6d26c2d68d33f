"""What tells the suite's version to its own programs where it was copied into place, not installed by pip."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = "galley"


def lay(libraries: Path) -> None:
    """Writes the suite's METADATA (PyPA, core metadata 2.1) into a folder of Python packages."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    folder = libraries / f"{NAME}-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n")
