"""A Debian tree whose maker is killed: what the next build finds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from images.nuc import chroot

KILLED = """\
#!/bin/sh
for tree; do :; done
mkdir -p "$tree/proc"
mount -t proc proc "$tree/proc"
kill -9 $$
"""


def test_an_mmdebstrap_that_was_killed_leaves_nothing_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was mounted in the tree kept it, and every later build, from being made."""
    program = tmp_path / "bin/mmdebstrap"
    program.parent.mkdir()
    program.write_text(KILLED)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin")
    tree = tmp_path / "tree"
    try:
        with pytest.raises(chroot.BuildError, match="mmdebstrap failed"):
            chroot.make(tree, tmp_path / "debs", ["bash"], variant="minbase")
        assert str(tree) not in Path("/proc/self/mounts").read_text()
        chroot.discard(tree)
        assert not tree.exists()
    finally:
        subprocess.run(["umount", str(tree / "proc")], check=False, capture_output=True)
