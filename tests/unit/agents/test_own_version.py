"""The suite's version, by the name of its installation's record, else as the packaging says it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from agents.io.own_version import own_version


def test_a_record_beside_the_packages_is_believed_without_being_read(tmp_path: Path) -> None:
    (tmp_path / "galley-2.10.3.dist-info").mkdir()
    (tmp_path / "galley_more-9.dist-info").mkdir()
    assert own_version(tmp_path) == "2.10.3"


def test_without_one_record_the_packaging_says_it(tmp_path: Path) -> None:
    assert own_version(tmp_path) == version("galley")
    for name in ("galley-1.dist-info", "galley-2.dist-info"):
        (tmp_path / name).mkdir()
    assert own_version(tmp_path) == version("galley")


def test_it_loads_no_archives_and_no_mail(tmp_path: Path) -> None:
    (tmp_path / "galley-1.0.dist-info").mkdir()
    script = (
        "import sys, pathlib; from agents.io.own_version import own_version; own_version(pathlib.Path(sys.argv[1])); "
        "print(sorted({'zipfile', 'email', 'importlib.metadata'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
