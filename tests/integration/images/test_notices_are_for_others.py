"""What is wrong with a medium is left under the units' umask, and read by who shows it: another user."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "images/nuc/files/usr/lib/galley/settings"
UNITS = ROOT / "images/nuc/files/usr/lib/systemd/system"
NOBODY = 65534
TAKE = """
import sys
from pathlib import Path
from edge_commander.machine_settings import apply
apply.NOTICES = Path(sys.argv[1])
apply.ETC = Path(sys.argv[2])
sys.exit(apply.main([sys.argv[2], "--name", "the stick", "--restart"]))
"""


@pytest.fixture
def run() -> Iterator[Path]:
    """A `/run`: everybody reaches it, and pytest's own folders nobody but the user who runs it."""
    with TemporaryDirectory(prefix="galley-run-") as place:
        Path(place).chmod(0o755)
        yield Path(place)


def read(file: Path) -> str:
    return subprocess.run(["cat", str(file)], user=NOBODY, group=NOBODY, capture_output=True, text=True).stdout


def test_the_units_let_nobody_else_read_what_they_write() -> None:
    """Else the tests below are of something else."""
    for name in ("galley-settings.service", "galley-stick.service"):
        assert re.findall(r"^UMask=(.*)$", (UNITS / name).read_text(), re.MULTILINE) == ["0077"]


@pytest.mark.parametrize("before", [None, 0o700], ids=["no folder yet", "one of an earlier version"])
def test_problems_of_a_medium_are_read_by_another_user(run: Path, tmp_path: Path, before: int | None) -> None:
    notices = run / "notices/settings"
    if before is not None:
        notices.parent.mkdir(mode=before)
    command = [sys.executable, "-c", TAKE, str(notices), str(tmp_path)]
    subprocess.run(command, umask=0o077, check=True, cwd=ROOT, capture_output=True, timeout=60)
    assert read(notices) == "the stick: there is no galley.yaml on it\n"
    assert notices.parent.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("before", [None, 0o700], ids=["no folder yet", "one of an earlier version"])
def test_a_stick_that_cannot_be_mounted_is_said_to_another_user(run: Path, before: int | None) -> None:
    notices = run / "notices"
    if before is not None:
        notices.mkdir(mode=before)
        (notices / "settings").write_text("of an earlier stick\n")
    problem = re.search(r"^problem\(\) \{\n.*?^\}\n", SCRIPT.read_text(), re.MULTILINE | re.DOTALL)
    assert problem is not None
    shell = f'set -e\nNOTICES="$1"\n{problem[0]}\nproblem "the stick: cannot be read"\n'
    done = subprocess.run(["sh", "-c", shell, "sh", str(notices)], umask=0o077, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (78, "galley: the stick: cannot be read\n")
    assert read(notices / "settings") == "the stick: cannot be read\n"
    assert [one.name for one in notices.iterdir()] == ["settings"]
