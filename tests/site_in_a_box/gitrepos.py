"""Real Git repositories for tests and demo: made, changed and broken by git itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path


class GitRepo:
    """A bare repository under `root`, and a working copy beside it to commit from."""

    def __init__(self, root: Path, name: str = "store-01234", branch: str = "main") -> None:
        self.bare = root / f"{name}.git"
        self.work = root / f"{name}.work"
        self.branch = branch
        self._git("init", "--quiet", "--bare", f"--initial-branch={branch}", str(self.bare), cwd=root)
        self._git("init", "--quiet", f"--initial-branch={branch}", str(self.work), cwd=root)
        self._git("remote", "add", "origin", str(self.bare))

    def commit(self, files: Mapping[str, str | bytes | None], message: str = "change") -> str:
        """Writes (None: removes) files, commits and pushes; the new revision."""
        for name, content in files.items():
            path = self.work / name
            if content is None:
                path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.commit_all(message)

    def commit_all(self, message: str = "change") -> str:
        """Commits whatever is in the working copy and pushes it; the new revision."""
        self._git("add", "--all", "--force")
        self._git("commit", "--quiet", "--allow-empty", "--no-verify", "-m", message)
        return self.push()

    def push(self) -> str:
        """Pushes the working copy's HEAD to the branch, history rewritten or not; the revision."""
        self._git("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{self.branch}")
        return self.head()

    def head(self) -> str:
        """The working copy's revision."""
        return self._git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Any git command in the working copy."""
        return self._git(*arguments, stdin=stdin)

    @property
    def url(self) -> str:
        """The bare repository as a file remote."""
        return f"file://{self.bare}"

    def _git(self, *arguments: str, cwd: Path | None = None, stdin: bytes | None = None) -> str:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "Pat",
            "GIT_AUTHOR_EMAIL": "pat@example.org",
            "GIT_COMMITTER_NAME": "Pat",
            "GIT_COMMITTER_EMAIL": "pat@example.org",
        }
        done = subprocess.run(
            ["git", *arguments], cwd=cwd or self.work, env=environment, input=stdin, capture_output=True, timeout=120
        )
        if done.returncode != 0:
            raise RuntimeError(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode(errors="replace")
