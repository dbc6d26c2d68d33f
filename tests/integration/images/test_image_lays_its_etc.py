"""Early boot's overlay on /etc: the rule is run whenever image or layer are not what it judged the last time, else not.

The rule is the real one, on real mounts, in a mount namespace of its own; only partitions are played, by folders.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_commander.overlay import mounting

EARLY = Path(__file__).resolve().parents[3] / "images/nuc/files/usr/lib/galley/early"
NODE = r"""
mount -t tmpfs run /run
mount -t tmpfs disk "$PLACE/disk"
mkdir "$PLACE/disk/conf" "$PLACE/disk/keep"
mount --bind "$PLACE/etc" /etc
. "$EARLY"
mount_ext4() { mkdir -p "$2"; mount --bind "$PLACE/disk/$1" "$2"; }
boot() {
    : > "$PLACE/ran"
    rm -rf "$RUN"; mkdir -p "$RUN/checked"
    overlay conf
    [ -s "$PLACE/ran" ] && said=judged || said=laid
    [ ! -e "$RUN/problems" ] || said="$said, and $(cat "$RUN/problems")"
    echo "$said: $(cat /etc/x 2> /dev/null)"
}
halt() { umount /etc; umount /run/galley-overlay/image; umount /run/galley-conf; rm -rf /run/galley-overlay; }
"""
UPPER = '"$PLACE/disk/conf/etc/upper/x"'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("etc/ssh", "disk", "dev", "sys"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/ssh/config").write_text("of the image\n")
    (tmp_path / "python").write_text(f'#!/bin/sh\necho ran >> "$PLACE/ran"\nexec {sys.executable} "$@"\n')
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "cmdline").write_text("root=UUID=1 galley.slot=a\n")
    return tmp_path


def lived(place: Path, *steps: str) -> Sequence[str]:
    """What each start said, of a node that lives these lines of shell. `boot` is followed by a halt."""
    script = NODE + "\n".join(steps)
    environ = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PLACE": str(place), "EARLY": str(EARLY), "SYS": str(place / "sys"),
        "DEV": str(place / "dev"), "RUN": str(place / "run"), "PYTHON": str(place / "python"),
        "CMDLINE": str(place / "cmdline"), "PYTHONPATH": str(EARLY.parents[6]),
    }  # fmt: skip
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        capture_output=True, text=True, check=False, env=environ, timeout=120,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_rule_is_run_once_for_each_state_of_the_layer(place: Path) -> None:
    said = lived(place, "boot; echo one > /etc/x; halt", "boot; halt", "boot; halt", "boot; echo two > /etc/x; halt",
                 "boot; halt", "boot; halt")  # fmt: skip
    assert said == ["judged: ", "judged: one", "laid: one", "laid: one", "judged: two", "laid: two"]


@pytest.mark.parametrize(
    "change",
    [
        f"chmod 0600 {UPPER}",
        f"printf 'sly\\n' > {UPPER}; touch -d 2001-09-09 {UPPER}",
        f"rm {UPPER}",
        'mkdir "$PLACE/disk/conf/etc/upper/new"',
        'echo root=UUID=2 > "$CMDLINE"',
        'echo torn > "$PLACE/disk/conf/judged"',
        ': > "$PLACE/disk/conf/judged"',
        'rm "$PLACE/disk/conf/etc/galley-overlay.json"',
    ],
)
def test_whatever_is_not_as_it_was_is_judged(place: Path, change: str) -> None:
    """Also where someone sets the times of a file back: nobody can set its ctime."""
    before = f"boot; echo one > /etc/x; halt; boot; touch -d 2001-09-09 {UPPER}; halt; boot; halt; boot; halt"
    *_, third, after, again = lived(place, before, change, "boot; halt; boot; halt")
    assert third == "laid: one"
    assert after.startswith("judged:") and again.startswith("laid:")


def test_what_is_laid_without_the_rule_is_what_the_rule_lays(place: Path) -> None:
    """The same mounts by the same options; the image is seen, and cannot be written."""
    look = "sort /proc/self/mounts | grep -E '^galley-etc /etc | /run/galley-overlay/image '"
    # Not the first start's mounts: the kernel shows more of a layer that it has never seen.
    _, judged, *by_rule, laid, first, second, touched, image = lived(
        place, "boot; echo one > /etc/x; halt; boot", look, "halt; boot", look,
        "touch /run/galley-overlay/image/y 2>&1", "cat /etc/ssh/config; halt",
    )  # fmt: skip
    assert (judged, laid, image) == ("judged: one", "laid: one", "of the image") and "Read-only file system" in touched
    assert by_rule == [first, second] and sum(" overlay " in line for line in by_rule) == 1
    options = re.search(r"^FEATURES=(\S+)", EARLY.read_text(), re.MULTILINE)
    assert options is not None and options[1] == mounting.OPTIONS


def test_a_rule_that_cannot_be_run_or_has_something_to_say_is_run_again(place: Path) -> None:
    refuses = (
        'cp "$PLACE/python" "$PLACE/good"; printf "#!/bin/sh\\necho ran >> $PLACE/ran\\nexit 1\\n" > "$PLACE/python"'
    )
    said = lived(place, "boot; echo one > /etc/x; halt", refuses, "boot; umount /etc; umount /run/galley-conf",
                 'cp "$PLACE/good" "$PLACE/python"', "boot; halt; boot; halt")  # fmt: skip
    assert said[1] == "judged, and /etc: its layer is mounted without its rule: one"
    assert said[2:] == ["judged: one", "laid: one"]


def test_a_layer_that_is_not_laid_as_it_was_is_laid_by_the_rule(place: Path) -> None:
    said = lived(place, "boot; halt; boot; halt", "FEATURES=nonsense", "boot 2> /dev/null; halt")
    assert said[-1] == "judged, and /etc: its layer is not mounted as it was the last time: "


def test_a_layer_is_laid_and_seen_where_conf_is_too_full_for_a_note(place: Path) -> None:
    full = 'mount -t tmpfs -o size=64k conf "$PLACE/disk/conf"'
    fill = 'rm "$PLACE/disk/conf/judged"; dd if=/dev/zero of="$PLACE/disk/conf/all" bs=4k 2> /dev/null'
    look = "grep -c ' /run/galley-conf ' /proc/self/mounts; ls /run/galley-conf/etc"
    said = lived(place, full, "boot; echo one > /etc/x; halt; boot; halt", fill,
                 "overlay conf || echo failed", look, 'ls "$PLACE/disk/conf"')  # fmt: skip
    assert said == ["judged: ", "judged: one", "1", "galley-overlay.json", "upper", "work", "all", "etc"]
