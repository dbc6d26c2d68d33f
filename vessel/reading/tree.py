"""One commit's files on disk, looked at before anything reads them: bounded, nothing special, no way out of the tree.

Touches the file system, read-only. Whoever opens a tree without problems may follow its symlinks: all of them,
also in hidden directories, end inside it. `.git` at its root is left alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agents.contracts.messages import Problem

YAML_SUFFIXES = (".yaml", ".yml", ".json")
KUSTOMIZATION_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")


@dataclass(frozen=True)
class TreeBounds:
    """What is read at most: bytes of one file and of all files read, entries of the tree, levels of directories."""

    file_bytes: int = 8 * 1024 * 1024
    total_bytes: int = 64 * 1024 * 1024
    entries: int = 20_000
    levels: int = 40


class FileRefused(Exception):
    """One file cannot be read; the text says why."""


@dataclass
class Tree:
    """An opened tree. `directories` maps each directory (`.` is the root) to the sorted names in it."""

    root: Path
    bounds: TreeBounds
    problems: list[Problem] = field(default_factory=list)
    directories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _read: int = 0

    @classmethod
    def open(cls, root: Path, bounds: TreeBounds | None = None) -> Tree:
        """Looks at every entry below `root`. Raises OSError when `root` is no readable directory."""
        tree = cls(root.resolve(strict=True), bounds or TreeBounds())
        budget = tree.bounds.entries
        waiting = ["."]
        while waiting:
            directory = waiting.pop()
            if directory.count("/") >= tree.bounds.levels:
                tree._problem(directory, f"lies deeper than {tree.bounds.levels} directories")
                continue
            with os.scandir(tree.root / directory) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
            budget -= len(entries)
            if budget < 0:
                tree._problem("", f"the tree has more than {tree.bounds.entries} files and directories")
                break
            tree.directories[directory] = tuple(entry.name for entry in entries)
            waiting += [path for entry in entries if (path := tree._look(directory, entry))]
        return tree

    def _look(self, directory: str, entry: os.DirEntry[str]) -> str:
        """Checks one entry; its path when it is a directory to go into."""
        path = join(directory, entry.name)
        if directory == "." and entry.name == ".git":
            return ""
        if not entry.name.isprintable():
            shown = path.encode("unicode_escape", "surrogateescape").decode("ascii", "replace")
            self._problem(shown, "the name has control characters or is not UTF-8")
            return ""
        if entry.is_symlink():
            self._look_at_link(path)
            return ""
        mode = entry.stat(follow_symlinks=False).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            self._problem(path, "is neither file nor directory")
        return path if stat.S_ISDIR(mode) else ""

    def _look_at_link(self, path: str) -> None:
        try:
            target = (self.root / path).resolve(strict=True)
        except (OSError, RuntimeError):
            self._problem(path, "is a symbolic link to nothing")
            return
        if not target.is_relative_to(self.root) or target.is_relative_to(self.root / ".git"):
            self._problem(path, "is a symbolic link out of the repository")

    def _problem(self, path: str, cause: str) -> None:
        if len(self.problems) < 50:
            self.problems.append(Problem(file=path, cause=cause))

    def exists(self, path: str) -> bool:
        """Whether there is a file or directory at `path`; no path that the system cannot take has one."""
        return os.path.exists(self.root / path)  # noqa: PTH110 - Path.exists raises for names that are too long

    def is_directory(self, path: str) -> bool:
        """Whether `path` is a directory."""
        return os.path.isdir(self.root / path)  # noqa: PTH112 - as above

    def kustomization(self, directory: str) -> str:
        """The path of a directory's kustomization file, or empty."""
        names = self.directories.get(directory, ())
        return next((join(directory, name) for name in KUSTOMIZATION_NAMES if name in names), "")

    def read(self, path: str) -> bytes:
        """A regular file's bytes. Raises FileRefused; a file past the bound is not read at all."""
        try:
            with (self.root / path).open("rb") as file:
                facts = os.fstat(file.fileno())
                if not stat.S_ISREG(facts.st_mode):
                    raise FileRefused("is not a regular file")
                if facts.st_size > self.bounds.file_bytes:
                    raise FileRefused(f"has {facts.st_size} bytes, more than the limit of {self.bounds.file_bytes}")
                data = file.read(self.bounds.file_bytes + 1)
        except OSError as error:
            raise FileRefused(error.strerror or "cannot be read") from None
        self._read += len(data)
        if len(data) > self.bounds.file_bytes or self._read > self.bounds.total_bytes:
            raise FileRefused(f"the manifests have more than {self.bounds.total_bytes} bytes in all")
        return data

    def manifest_files(self, directory: str) -> Iterator[tuple[str, bool]]:
        """Below `directory`, in order of names: `(file, False)`, and `(directory, True)` for one with a kustomization.

        As Flux does where there is no kustomization: a subdirectory that has one is one unit, and nothing
        else in it is read. Hidden names are skipped; symbolic links to directories are not followed.
        """
        for name in self.directories.get(directory, ()):
            path = join(directory, name)
            if name.startswith("."):
                continue
            if path in self.directories:
                if self.kustomization(path):
                    yield path, True
                else:
                    yield from self.manifest_files(path)
            elif name.endswith(YAML_SUFFIXES) and not (self.root / path).is_dir():
                yield path, False


def join(directory: str, name: str) -> str:
    """`directory/name`, without a leading `./`."""
    return name if directory in (".", "") else f"{directory}/{name}"
