"""A node's /etc: an image in erofs, `conf` and `keep` in ext4 on loop devices, mounted where no other process sees it.

A process holds the mount namespace; what is mounted there is reached through its root in /proc.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MAIN = "import sys; from edge_commander.overlay.diff import main; sys.exit(main(sys.argv[1:]))"


def run(*command: str) -> str:
    """Output of a program; its words as an error where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


class EtcNode:
    """A context: `conf`, `keep`, `run` and the image are mounted in `folder`, as seen in the namespace."""

    def __init__(self, folder: Path, *, conf: str = "8M", keep: str = "8M") -> None:
        self.folder = folder
        self._sizes = {"conf": conf, "keep": keep}
        # Cut off from this machine; among themselves its mounts are shared, as systemd has them.
        alone = ["unshare", "-m", "--propagation", "private"]
        self.holder = subprocess.Popen(
            [*alone, "sh", "-c", "mount --make-rshared / && exec sleep infinity"], stdin=subprocess.DEVNULL
        )
        while Path(f"/proc/{self.holder.pid}/comm").read_text() != "sleep\n":
            pass
        for name, size in self._sizes.items():
            disk = folder / f"{name}.ext4"
            run("truncate", "-s", size, str(disk))
            # Without its journal, which would take half of so small a disk.
            run("mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-m", "0", str(disk))
            (folder / name).mkdir()
            self.do("mount", "-o", "loop", str(disk), str(folder / name))
        for name in ("image", "run", "etc"):
            (folder / name).mkdir()

    def __enter__(self) -> EtcNode:
        return self

    def __exit__(self, *_: object) -> None:
        self.holder.kill()
        self.holder.wait()

    def do(self, *command: str) -> str:
        """A program in the namespace."""
        return run("nsenter", "-t", str(self.holder.pid), "-m", *command)

    def seen(self, path: Path) -> Path:
        """A path of the namespace, from outside."""
        return Path(f"/proc/{self.holder.pid}/root") / path.relative_to("/")

    @property
    def etc(self) -> Path:
        """The overlay, from outside."""
        return self.seen(self.folder / "etc")

    @property
    def lower(self) -> Path:
        """The image's /etc, from outside."""
        return self.seen(self.folder / "image/etc")

    @property
    def upper(self) -> Path:
        """The upper layer, from outside."""
        return self.seen(self.folder / "conf/etc/upper")

    @property
    def keep(self) -> Path:
        """The backups, from outside."""
        return self.seen(self.folder / "keep/etc-overlay")

    def image(self, tree: Path, version: str) -> None:
        """Makes `tree` the image's /etc, in the place of the one before."""
        root = self.folder / f"root-{version}"
        (root / "usr/lib").mkdir(parents=True)
        (root / "usr/lib/os-release").write_text(f'IMAGE_ID=nuc\nIMAGE_VERSION="{version}"\n')
        run("cp", "-a", "--no-target-directory", str(tree), str(root / "etc"))
        file = self.folder / f"{version}.erofs"
        run("mkfs.erofs", "--quiet", str(file), str(root))
        subprocess.run(["nsenter", "-t", str(self.holder.pid), "-m", "umount", str(self.folder / "image")],
                       check=False, capture_output=True)  # fmt: skip
        self.do("mount", "-t", "erofs", "-o", "loop,ro", str(file), str(self.folder / "image"))

    def arguments(self) -> list[str]:
        """Of the boot program."""
        places = {"lower": "image/etc", "upper": "conf/etc/upper", "work": "conf/etc/work", "keep": "keep/etc-overlay",
                  "mount": "etc", "run": "run"}  # fmt: skip
        return [word for name, path in places.items() for word in (f"--{name}", str(self.folder / path))]

    def command(self, module: str, *arguments: str) -> list[str]:
        """A module of ours as a command in the namespace."""
        return self._python("-m", module, *arguments)

    def script(self, text: str, *arguments: str) -> list[str]:
        """A line of Python as a command in the namespace."""
        return self._python("-c", text, *arguments)

    def _python(self, *words: str) -> list[str]:
        return ["nsenter", "-t", str(self.holder.pid), "-m", f"--wd={ROOT}", sys.executable, *words]

    def boot(self) -> subprocess.CompletedProcess[str]:
        """Early boot."""
        command = self.command("edge_commander.overlay.boot", *self.arguments())
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def mount(self, options: str = "", lower: Path | None = None) -> None:
        """The overlay without the rule."""
        layers = {"lowerdir": lower or "image/etc", "upperdir": "conf/etc/upper", "workdir": "conf/etc/work"}
        for path in ("conf/etc/upper", "conf/etc/work"):
            self.seen(self.folder / path).mkdir(parents=True, exist_ok=True)
        said = ",".join(
            [f"{name}={self.folder / path}" for name, path in layers.items()] + ([options] if options else [])
        )
        self.do("mount", "-t", "overlay", "overlay", "-o", said, str(self.folder / "etc"))

    def down(self) -> None:
        """The end of a boot."""
        self.do("umount", str(self.folder / "etc"))

    def diff(self, *more: str, lower: bool = True) -> tuple[int, dict[str, Any]]:
        """`edge-commander overlay diff` as root runs it, and its exit status."""
        config = self.config()
        own = ["--lower", str(self.folder / "image/etc")] if lower else []
        words = ["diff", "--config", str(config), "--output", "json", *own, *more]
        # Not by the command itself: it imports the whole daemon, which takes longer than all of this.
        done = subprocess.run(self.script(MAIN, *words), capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, json.loads(done.stdout)

    def config(self) -> Path:
        """The configuration of a commander here."""
        file = self.folder / "galley.yaml"
        places = {"upper": "conf/etc/upper", "keep": "keep/etc-overlay", "run": "run"}
        overlay = {name: str(self.folder / path) for name, path in places.items()}
        file.write_text(json.dumps({"v": 1, "edge_commander": {"overlay": overlay}}))
        return file
