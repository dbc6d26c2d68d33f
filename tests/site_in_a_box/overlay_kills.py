"""Early boot of an overlay, killed by SIGKILL at each of its system calls that change something, and started again.

Usage, in a mount namespace of its own: python -m tests.site_in_a_box.overlay_kills BASE ARGUMENTS-OF-BOOT... `BASE`
holds `conf` and `keep`, which each life starts from. Prints JSON: how many points, and where the end was another one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from edge_commander.overlay import boot
from edge_commander.overlay.store import Store
from tests.site_in_a_box.kill_at import Counter

CALLS = ("unlink", "rename", "replace", "fsync", "removexattr", "setxattr", "chown", "chmod", "mkdir", "rmdir")
SAVED = "pristine"


def life(arguments: list[str], at: int) -> tuple[bool, int]:
    """One early boot as a process; whether it was killed, and how many calls it made."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        counter = Counter(at)
        for name in CALLS:
            setattr(os, name, counter.wrap(getattr(os, name)))
        subprocess.run = counter.wrap(subprocess.run)
        with Path(os.devnull).open("w") as nothing, contextlib.redirect_stderr(nothing):
            status = boot.main(arguments)
        os.write(writing, str(counter.done).encode())
        os._exit(status)
    os.close(writing)
    calls = os.read(reading, 100)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    assert killed or os.waitstatus_to_exitcode(status) == 0
    return killed, int(calls or b"0")


def end(base: Path) -> dict[str, Any]:
    """What is on both partitions: raw, marks and whiteouts too; the state by its value."""
    conf, keep = base / "conf/etc", base / "keep/etc-overlay"
    found: dict[str, Any] = {}
    for top in (conf / "upper", keep):
        for path in sorted([top, *top.rglob("*")]):
            is_ = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(is_.st_mode) else b""
            names = [one for one in os.listxattr(path, follow_symlinks=False) if not one.endswith((".origin", ".uuid"))]
            attributes = {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in sorted(names)}
            found[str(path.relative_to(base))] = [is_.st_mode, is_.st_uid, is_.st_gid, is_.st_rdev,
                                                  hashlib.sha256(content).hexdigest(), attributes]  # fmt: skip
    found["state"] = repr(Store(conf, keep).peek())
    found["others"] = sorted(one.name for one in conf.iterdir())
    return found


def back(base: Path) -> None:
    """Both partitions as they were."""
    for name in ("conf", "keep"):
        for one in (base / name).iterdir():
            shutil.rmtree(one)
        subprocess.run(["cp", "-a", f"{base / SAVED / name}/.", str(base / name)], check=True)


def main(base: Path, arguments: list[str]) -> None:
    """See above."""
    etc = arguments[arguments.index("--mount") + 1]
    for name in ("conf", "keep"):
        (base / SAVED / name).mkdir(parents=True)
        subprocess.run(["cp", "-a", f"{base / name}/.", str(base / SAVED / name)], check=True)
    killed, points = life(arguments, 0)
    assert not killed
    subprocess.run(["umount", etc], check=True)
    expected, bad, kills = end(base), [], 0
    for at in range(1, points + 1):
        back(base)
        killed, _ = life(arguments, at)
        kills += killed
        life(arguments, 0)
        subprocess.run(["umount", etc], check=True)
        found = end(base)
        if found != expected:
            differs = sorted(key for key in {*found, *expected} if found.get(key) != expected.get(key))
            bad.append([at, differs, found["state"] if "state" in differs else ""])
    print(json.dumps({"points": points, "kills": kills, "bad": bad}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
