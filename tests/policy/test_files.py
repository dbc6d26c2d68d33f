"""What every committed file must be: short, self-contained, and silent about the machine that it was written on."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_LINES = 400
CODE = (".py", ".sh", ".go", ".js", ".css", ".html")
GENERATED = re.compile(r"(\.lock|go\.sum|go\.mod|\.png|\.svg)$|/golden/")
MACHINE_PATHS = re.compile(r"(?<![\w./-])(/" + r"work/|/" + r"root/|/home/[a-z]+/|/tmp/g" + r"/)")


def committed() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached"], cwd=ROOT, capture_output=True, check=True, timeout=30
    ).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def text_of(file: Path) -> str | None:
    try:
        return file.read_text()
    except UnicodeDecodeError:
        return None


def test_no_file_of_code_is_longer_than_the_budget() -> None:
    long = {
        str(file.relative_to(ROOT)): lines
        for file in committed()
        if file.suffix in CODE and (lines := len((text_of(file) or "").splitlines())) > MAX_LINES
    }
    assert not long


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in committed()
        if not GENERATED.search(str(file.relative_to(ROOT)))
        for number, line in enumerate((text_of(file) or "").splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]
    assert not found


def test_no_private_key_or_token_is_committed() -> None:
    pattern = re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s*\n[A-Za-z0-9+/]{40}|\beyJ[\w-]{20,}\.eyJ[\w-]{20,}\.[\w-]{20,}"
    )
    found = [str(file.relative_to(ROOT)) for file in committed() if pattern.search(text_of(file) or "")]
    assert not found


def test_the_directory_systemd_is_no_package() -> None:
    """An `__init__.py` there would shadow python-systemd for whatever runs from the checkout."""
    assert not list((ROOT / "systemd").rglob("__init__.py"))


def test_every_module_says_what_it_decides_or_touches() -> None:
    silent = [
        str(file.relative_to(ROOT))
        for file in committed()
        if file.suffix == ".py" and (text := text_of(file) or "").strip() and not ast.get_docstring(ast.parse(text))
    ]
    assert not silent
