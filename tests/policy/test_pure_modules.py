"""A module that calls itself pure imports nothing that touches the world, and lies where the design puts it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("agents", "vessel", "heartbeat", "synthetic_client", "edge_commander", "cloud_endpoint")
FORBIDDEN = {
    "asyncio", "subprocess", "os", "time", "logging", "socket", "shutil", "threading", "sqlite3", "signal", "ssl",
    "random", "secrets", "aiohttp", "aiomqtt", "git", "kubernetes_asyncio", "psutil", "tenacity", "structlog",
    "agents.io", "agents.supervise",
}  # fmt: skip
ALWAYS_PURE = ("agents/contracts", "agents/core")


def modules() -> list[Path]:
    return sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def claims_purity(file: Path) -> bool:
    doc = ast.get_docstring(ast.parse(file.read_text())) or ""
    return doc.split("\n\n")[0].rstrip().endswith("Pure.") or doc.rstrip().endswith("Pure.")


def imported(file: Path) -> dict[str, int]:
    """Every module that the file imports at any level, but for TYPE_CHECKING, with its line."""
    found: dict[str, int] = {}
    tree = ast.parse(file.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for one in node.body
        for inner in ast.walk(one)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name: node.lineno for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}": node.lineno for alias in node.names} | {
                node.module or "": node.lineno
            }
    return found


PURE = [file for file in modules() if claims_purity(file)]


@pytest.mark.parametrize("file", PURE, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_pure_module_imports_nothing_impure(file: Path) -> None:
    own = str(file.relative_to(ROOT).with_suffix("")).replace("/", ".")
    bad = [
        f"{file.relative_to(ROOT)}:{line}: imports {name}"
        for name, line in imported(file).items()
        if any(name == one or name.startswith(one + ".") for one in FORBIDDEN)
        and not name.startswith(own.rsplit(".", 1)[0] + ".")
    ]
    assert not bad, "\n".join(bad)


def test_what_a_pure_module_imports_of_the_project_is_pure_too() -> None:
    pure = {str(file.relative_to(ROOT).with_suffix("")).replace("/", ".") for file in PURE}
    known = {str(file.relative_to(ROOT).with_suffix("")).replace("/", ".") for file in modules()}
    bad = [
        f"{file.relative_to(ROOT)}:{line}: imports {name}, which is not pure"
        for file in PURE
        for name, line in imported(file).items()
        if name in known and name not in pure and not name.endswith("__init__")
    ]
    assert not bad, "\n".join(bad)


def test_contracts_and_core_are_pure_and_there_are_pure_modules_in_each_package() -> None:
    impure = [str(f) for f in modules() if str(f.relative_to(ROOT)).startswith(ALWAYS_PURE) and f not in PURE]
    assert not [name for name in impure if not name.endswith("__init__.py")]
    assert {file.relative_to(ROOT).parts[0] for file in PURE} == set(PACKAGES)
