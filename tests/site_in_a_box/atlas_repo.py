"""A site's Atlas repository as its owners write it: a bare repository and a clone to commit in. One class."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.site_in_a_box import samples

AUTHOR = {
    "GIT_AUTHOR_NAME": "Menu Team",
    "GIT_AUTHOR_EMAIL": "menu@restaurant.example",
    "GIT_COMMITTER_NAME": "Menu Team",
    "GIT_COMMITTER_EMAIL": "menu@restaurant.example",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


class AtlasRepo:
    """`bare` is what a Git server serves; `work` is where people edit."""

    def __init__(self, bare: Path, work: Path) -> None:
        self.bare = bare
        self.work = work

    @classmethod
    def create(cls, served: Path, name: str, source: Path, works: Path, more: Path | None = None) -> AtlasRepo:
        """A new repository `served/name.git` with one commit: all files of `source`, and the samples of `more`."""
        repo = cls(served / f"{name}.git", works / name)
        repo._git("init", "--quiet", "--bare", "--initial-branch=main", str(repo.bare), cwd=served)
        repo._git("clone", "--quiet", str(repo.bare), str(repo.work), cwd=works)
        repo._git("checkout", "--quiet", "-B", "main")
        shutil.copytree(source, repo.work, dirs_exist_ok=True)
        if more is not None:
            samples.lay_into(repo.work, more)
        repo.push("The restaurant's Atlas")
        return repo

    def push(self, message: str, edit: Callable[[Path], None] | None = None) -> str:
        """Edits the work tree, commits all of it and pushes; returns the revision."""
        if edit is not None:
            edit(self.work)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", message)
        self._git("push", "--quiet", "origin", "main")
        return self.head()

    def head(self) -> str:
        """The branch's revision."""
        return self._git("rev-parse", "HEAD").strip()

    def apps(self) -> list[str]:
        """The names of the apps in the work tree."""
        return sorted(path.parent.name for path in self.work.glob("apps/*/app.yaml"))

    def revert(self, message: str) -> str:
        """Commits what the commit before the last one held, and pushes; returns the revision."""
        self._git("checkout", "--quiet", "HEAD~1", "--", ".")
        self._git("clean", "--quiet", "-fd")
        return self.push(message)

    def _git(self, *arguments: str, cwd: Path | None = None) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **AUTHOR}
        done = subprocess.run(
            ["git", *arguments], cwd=cwd or self.work, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"git {arguments[0]} failed ({done.returncode}): {done.stdout}")
        return done.stdout
