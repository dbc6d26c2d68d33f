"""The bare clone on disk and the exported trees beside it. Blocking; one process at a time.

    <directory>/clone.git          bare, shallow: refs/vessel/<revision> for every revision that is kept
    <directory>/trees/<revision>/  the files of that revision
    <directory>/lock               held while someone works here
    <directory>/clone.corrupt-<n>  what was found damaged, for a person to look at (the newest alone)

Killed at any point, the next start removes what was half done: locks, packs and trees under temporary names.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from agents.core.atlas import shown
from agents.core.errors import Rejected, Retryable
from vessel.git.export import TEMPORARY, ExportBounds, export, parse_tree
from vessel.git.faults import Corrupt, is_corrupt, last_words, remote_fault
from vessel.git.remote import CONFIGURATION, Remote, check_revision
from vessel.git.runner import GitRunner, Outcome, Stopped
from vessel.model import Commit

_KEPT = "refs/vessel/"
_PACKS = 12
_SHORT = 256
_NO_ROOM = re.compile(
    r"memory|Too many open files|No space left|unable to create thread|Resource temporarily", re.IGNORECASE
)


class NotFetched(Retryable):
    """The clone does not have the revision: never fetched, or gone with a clone that was damaged."""


@dataclass(frozen=True)
class CloneBounds:
    """Times in s, sizes in bytes. `fetch_bytes`: the largest pack that is accepted."""

    poll_seconds: float = 30.0
    fetch_seconds: float = 600.0
    local_seconds: float = 120.0
    fetch_bytes: int = 256 * 1024 * 1024
    export: ExportBounds = field(default_factory=ExportBounds)

    @property
    def turn_seconds(self) -> float:
        """More than one look at the remote takes with all that it may wait for: the questions, the fetch, and what is
        done on disk, its own (lock, init, show, and four to tidy) and that of another caller before each of three."""
        return 2 * self.poll_seconds + self.fetch_seconds + 20 * self.local_seconds


class Clone:
    """One Atlas on disk. `quarantined` names the clones that were set aside, for the owner to report."""

    def __init__(self, directory: Path, bounds: CloneBounds) -> None:
        """Makes the directory; raises Rejected without git, OSError when the disk refuses."""
        self.directory = directory
        self.bounds = bounds
        self.quarantined: list[str] = []
        self._repository = directory / "clone.git"
        self._trees = directory / "trees"
        self._trees.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._git = GitRunner(directory)
        self._recovered = False

    @contextlib.contextmanager
    def alone(self, stop: threading.Event) -> Iterator[None]:
        """Works on the clone alone. git children inherit the lock, so those of a killed predecessor are waited for."""
        with (self.directory / "lock").open("ab") as lock:
            self._lock(lock.fileno(), stop)
            self._git.inherited = (lock.fileno(),)
            try:
                if not self._recovered:
                    self._recover()
                    self._recovered = True
                yield
            finally:
                self._git.inherited = ()

    def _lock(self, descriptor: int, stop: threading.Event) -> None:
        deadline = time.monotonic() + self.bounds.local_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Retryable("another process still works on the Atlas' clone") from None
                if stop.wait(0.1):
                    raise Stopped from None
            else:
                return

    def _recover(self) -> None:
        """Removes what a killed predecessor left half done."""
        for leftover in self._trees.glob(f"{TEMPORARY}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        shutil.rmtree(self.directory / "clone.making", ignore_errors=True)
        if self._repository.is_dir():
            for folder, _, names in os.walk(self._repository):
                for name in names:
                    if name.endswith(".lock") or name.startswith(("tmp_pack_", "tmp_idx_", "tmp_obj_", "tmp_rev_")):
                        (Path(folder) / name).unlink(missing_ok=True)
        for reference in self._repository.glob("refs/vessel/*"):
            if reference.stat().st_size == 0:  # a power cut between create and write
                reference.unlink()

    def _make(self) -> None:
        if (self._repository / "HEAD").exists():
            return
        if self._repository.exists():
            self.set_aside("it has no HEAD")
        making = self.directory / "clone.making"
        shutil.rmtree(making, ignore_errors=True)
        outcome = self._git.run(
            ["init", "--quiet", "--bare", "--template=", str(making)],
            seconds=self.bounds.local_seconds,
            configuration=CONFIGURATION,
        )
        if outcome.status != 0:
            raise Retryable(f"no clone can be made on disk: {last_words(outcome.said)}")
        making.replace(self._repository)

    def set_aside(self, why: str) -> str:
        """Puts a damaged clone out of the way and says so. The exported trees stay."""
        old = sorted(self.directory.glob("clone.corrupt-*"))
        number = max((int(path.name.rpartition("-")[2]) for path in old), default=0) + 1
        for path in old:
            shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            self._repository.replace(self.directory / f"clone.corrupt-{number}")
        text = f"the Atlas' clone was damaged and has been set aside as clone.corrupt-{number}: {why[:_SHORT]}"
        self.quarantined.append(text)
        return text

    def poll(self, remote: Remote, configuration: Mapping[str, str], stop: threading.Event) -> str:
        """The revision the branch is at. Reads nothing and writes nothing on disk."""
        outcome = self._remote(["ls-remote", "--quiet", remote.url, remote.ref], configuration, stop)
        if outcome.status != 0:
            raise remote_fault(outcome.said, remote.url)
        for line in outcome.output.decode(errors="replace").splitlines():
            revision, _, name = line.partition("\t")
            if name == remote.ref:
                return check_revision(revision)
        others = self._remote(["ls-remote", "--quiet", "--heads", remote.url], configuration, stop)
        if others.status != 0:
            raise remote_fault(others.said, remote.url)
        if not others.output.strip():
            raise Rejected(
                f"the Atlas at {shown(remote.url)} is an empty repository: it has no branch {remote.branch!r}"
            )
        raise Rejected(f"the Atlas at {shown(remote.url)} has no branch {remote.branch!r}")

    def fetch(self, remote: Remote, configuration: Mapping[str, str], revision: str, stop: threading.Event) -> Commit:
        """Brings one revision, without history, into the clone."""
        check_revision(revision)
        self._make()
        if not self._has(revision):
            arguments = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"]
            wanted = f"+{revision}:{_KEPT}{revision}"
            outcome = self._git.run(
                [f"--git-dir={self._repository}", *arguments, remote.url, wanted],
                seconds=self.bounds.fetch_seconds,
                configuration=configuration,
                file_bytes=self.bounds.fetch_bytes,
                stop=stop,
            )
            if outcome.status != 0:
                self._fetch_failed(outcome, remote)
        return self.commit(revision, stop)

    def _fetch_failed(self, outcome: Outcome, remote: Remote) -> None:
        fault = remote_fault(outcome.said, remote.url)
        if isinstance(fault, Rejected):
            raise fault
        cut_off = re.search(r"early EOF|RPC failed|hung up|curl \d+|disconnect", outcome.said)
        if outcome.status < 0 or (re.search(r"index-pack", outcome.said) and not cut_off):
            limit = self.bounds.fetch_bytes
            raise Rejected(
                f"the Atlas at {shown(remote.url)} sends a pack that is broken or has more than {limit} bytes"
            )
        if is_corrupt(outcome.said):
            raise Retryable(self.set_aside(last_words(outcome.said)))
        raise fault

    def commit(self, revision: str, stop: threading.Event) -> Commit:
        """The facts of a commit that is in the clone."""
        form = "--format=%H%x00%ct%x00%an <%ae>%x00%s"
        arguments = ["show", "--no-patch", "--no-notes", form, check_revision(revision), "--"]
        text = self._local(arguments, stop, revision=revision)
        facts = text.decode(errors="replace").rstrip("\n").split("\0")
        if len(facts) != 4 or facts[0] != revision or not facts[1].isdigit():
            raise Rejected("is not a commit", file=revision)
        return Commit(revision, subject=_line(facts[3]), author=_line(facts[2]), time=int(facts[1]))

    def checkout(self, revision: str, stop: threading.Event) -> Path:
        """The directory with the revision's files; from the clone alone, no network."""
        if tree := tree_on_disk(self.directory, revision):
            return tree
        bounds = self.bounds.export
        listing = self._local(
            ["ls-tree", "-r", "-z", "-l", "--full-tree", revision],
            stop,
            output_bytes=bounds.files * 400,
            revision=revision,
        )

        def read_batch(wanted: IO[bytes], size: int) -> bytes:
            arguments = ["cat-file", "--batch", "--buffer"]
            return self._local(arguments, stop, output_bytes=size, stdin=wanted, revision=revision)

        try:
            return export(self._trees, revision, parse_tree(listing, bounds), read_batch)
        except Corrupt as error:
            raise Retryable(self.set_aside(str(error))) from None

    def tidy(self, keep: Collection[str], stop: threading.Event) -> None:
        """Removes all revisions but these, and packs the clone anew when it has grown."""
        for tree in self._trees.iterdir():
            if tree.name not in keep:
                going = self._trees / f"{TEMPORARY}{tree.name.lstrip('.')}-going"  # half of it is never under its name
                shutil.rmtree(going, ignore_errors=True)
                tree.replace(going)
                shutil.rmtree(going, ignore_errors=True)
        if not (self._repository / "HEAD").exists():
            return
        stale = [name for name in self._refs(stop) if name.removeprefix(_KEPT) not in keep]
        for name in stale:
            self._local(["update-ref", "-d", name], stop)
        if len(list(self._repository.glob("objects/pack/*.pack"))) > _PACKS:
            self._local(["gc", "--quiet", "--prune=now"], stop)

    def revisions(self) -> list[str]:
        """The revisions whose files are on disk."""
        return sorted(tree.name for tree in self._trees.iterdir() if not tree.name.startswith("."))

    def _has(self, revision: str) -> bool:
        """Whether the clone claims to have a revision: git writes the reference after all its objects."""
        return (self._repository / _KEPT / revision).exists()

    def _refs(self, stop: threading.Event) -> list[str]:
        return self._local(["for-each-ref", "--format=%(refname)", _KEPT], stop).decode().split()

    def _remote(self, arguments: list[str], configuration: Mapping[str, str], stop: threading.Event) -> Outcome:
        return self._git.run(arguments, seconds=self.bounds.poll_seconds, configuration=configuration, stop=stop)

    def _local(
        self,
        arguments: list[str],
        stop: threading.Event,
        *,
        output_bytes: int = 1024 * 1024,
        stdin: IO[bytes] | None = None,
        revision: str = "",
    ) -> bytes:
        """A command on the clone, reading `revision`. A damaged clone is set aside (Retryable): a fetch renews it."""
        if revision and not self._has(revision):
            raise NotFetched(f"the Atlas' commit {revision} has not been fetched yet")
        outcome = self._git.run(
            [f"--git-dir={self._repository}", *arguments],
            seconds=self.bounds.local_seconds,
            configuration=CONFIGURATION,
            output_bytes=output_bytes,
            stdin=stdin,
            stop=stop,
        )
        if outcome.status == 0:
            return outcome.output
        told = last_words(outcome.said)
        if is_corrupt(outcome.said) or (revision and outcome.status > 0 and not _NO_ROOM.search(outcome.said)):
            raise Retryable(self.set_aside(told))
        raise Retryable(f"git {arguments[0]} failed in the Atlas' clone: {told}")


def tree_on_disk(directory: Path, revision: str) -> Path | None:
    """The exported files of a revision, if they are there. Needs no lock: a tree appears and goes whole."""
    tree = directory / "trees" / check_revision(revision)
    return tree if tree.is_dir() else None


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:_SHORT]
