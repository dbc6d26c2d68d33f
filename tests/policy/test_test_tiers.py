"""What `make test` says of a tier: a fault is a fault, and a file that passes only when run again is named."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
GOOD = "def test_good():\n    pass\n"
BAD = "def test_bad():\n    assert False\n"
ONCE = """\
from pathlib import Path

def test_once():
    seen = Path(__file__).with_suffix(".seen")
    if not seen.exists():
        seen.touch()
        assert False
"""


@pytest.fixture
def tiers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The runner, of a project with nothing in it."""
    spec = importlib.util.spec_from_file_location("tiers", ROOT / "tools/tiers.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # no plugin is needed, and each costs a start
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    return module


def lay(tiers: ModuleType, **files: str) -> None:
    """Files of tests; `__` in a name is a folder."""
    for name, text in files.items():
        file = Path(tiers.ROOT, "tests", *name.split("__")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_a_file_that_fails_once_is_run_again_and_named(tiers: ModuleType) -> None:
    lay(tiers, integration__test_a=GOOD, integration__vessel__test_once=ONCE, integration__kube__test_b=GOOD)
    passed, line, more = tiers.run("integration")
    assert passed and " ok " in line and "1 failed" in line
    assert more == [
        "UNSTABLE: tests/integration/vessel/test_once.py failed, and passed when it was run again: see above"
    ]


def test_what_fails_twice_is_a_fault(tiers: ModuleType) -> None:
    lay(tiers, integration__test_a=BAD, integration__vessel__test_b=GOOD, integration__kube__test_c=GOOD)
    passed, line, more = tiers.run("integration")
    assert not passed and "FAILED" in line and more == []


def test_more_than_a_few_are_a_fault(tiers: ModuleType) -> None:
    lay(tiers, integration__test_a=ONCE, integration__vessel__test_b=ONCE, integration__kube__test_c=ONCE)
    passed, line, more = tiers.run("integration")
    assert not passed and "3 failed" in line and more == []


def test_where_nothing_is_shared_no_failure_is_excused(tiers: ModuleType) -> None:
    lay(tiers, unit__test_a=ONCE, unit__test_b=GOOD)
    passed, line, more = tiers.run("unit")
    assert not passed and "FAILED" in line and more == []


def test_a_run_that_something_else_ended_is_a_fault(tiers: ModuleType) -> None:
    ended = "import os\n\ndef test_ended():\n    os._exit(1)\n"
    lay(tiers, integration__test_a=ended, integration__vessel__test_b=ONCE, integration__kube__test_c=GOOD)
    passed, _, more = tiers.run("integration")
    assert not passed and more == []


def test_a_tier_without_a_test_is_a_fault(tiers: ModuleType) -> None:
    lay(tiers, unit__test_a="")
    passed, line, _ = tiers.run("unit")
    assert not passed and "no tests ran" not in line and "exit 5" in line
