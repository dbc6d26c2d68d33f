"""The Atlas' repository as the asyncio side sees it: git runs in a thread, and a cancelled wait kills it.

poll() -> revision        one question to the remote (protocol v2, ref prefix), nothing written
fetch(revision) -> Commit one revision without history, into the clone
checkout(revision) -> dir its files, from the clone alone: works offline and across restarts
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TypeVar

from agents.contracts.identity import GitCredential
from agents.core.atlas import shown
from agents.core.errors import Rejected, Retryable
from vessel.git.clone import Clone, CloneBounds, tree_on_disk
from vessel.git.remote import Remote, check_revision
from vessel.git.runner import Stopped
from vessel.model import Commit

CredentialSource = Callable[[], Awaitable[GitCredential | None]]
T = TypeVar("T")


class AtlasRepository:
    """One Atlas. `directory` belongs to it alone; one process at a time. Methods raise Retryable or Rejected."""

    def __init__(
        self,
        directory: Path,
        remote: Remote,
        *,
        credential: CredentialSource | None = None,
        bounds: CloneBounds | None = None,
    ) -> None:
        self._directory = directory
        self._remote = remote
        self._credential = credential
        self._bounds = bounds or CloneBounds()
        self._clone: Clone | None = None
        self._newest = ""
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"AtlasRepository({shown(self._remote.url)!r}, {self._remote.branch!r})"

    async def poll(self) -> str:
        """The revision the branch is at now."""
        configuration = await self._configuration()
        return await self._run(lambda clone, stop: clone.poll(self._remote, configuration, stop), alone=False)

    async def fetch(self, revision: str) -> Commit:
        """Brings `revision` into the clone (at once when it is there) and returns its facts."""
        check_revision(revision)
        configuration = await self._configuration()

        def act(clone: Clone, stop: threading.Event) -> Commit:
            commit = clone.fetch(self._remote, configuration, revision, stop)
            self._newest = revision
            return commit

        return await self._run(act)

    async def commit(self, revision: str) -> Commit:
        """The facts of a revision that was fetched before; needs no network."""
        return await self._run(lambda clone, stop: clone.commit(revision, stop))

    async def checkout(self, revision: str, keep: Collection[str] = ()) -> Path:
        """The directory that holds the files of a fetched revision; read it, do not write in it.

        With `keep` (the last healthy revision, say) all revisions but these, `revision` and the one fetched last are
        removed: that one may have come after the caller chose. Raises NotFetched when the clone does not have it.
        """
        tree = tree_on_disk(self._directory, revision)  # waits for nobody: a fetch may hang for minutes
        if tree is None:
            tree = await self._run(lambda clone, stop: clone.checkout(revision, stop))
        if keep and not self._turn.locked():
            await self.tidy({*keep, revision})
        return tree

    async def tidy(self, keep: Collection[str]) -> None:
        """Removes all revisions but these and the one fetched last."""
        await self._run(lambda clone, stop: clone.tidy({*keep, self._newest}, stop))

    async def revisions(self) -> list[str]:
        """The revisions whose files are on disk."""
        return await self._run(lambda clone, _: clone.revisions())

    def take_quarantined(self) -> list[str]:
        """What was found damaged since the last call, one text each, to be reported."""
        if self._clone is None:
            return []
        found, self._clone.quarantined = self._clone.quarantined, []
        return found

    async def _configuration(self) -> dict[str, str]:
        credential = await self._credential() if self._credential is not None else None
        return self._remote.configuration(credential)

    async def _run(self, action: Callable[[Clone, threading.Event], T], *, alone: bool = True) -> T:
        stop = threading.Event()

        def act() -> T:
            try:
                if self._clone is None:
                    self._clone = Clone(self._directory, self._bounds)
                with self._clone.alone(stop) if alone else contextlib.nullcontext():
                    return action(self._clone, stop)
            except Stopped:
                raise Retryable("git was stopped") from None
            except OSError as error:
                raise Retryable(f"the Atlas' clone on disk: {error.strerror or error}") from error

        async with self._turn:
            work = asyncio.create_task(asyncio.to_thread(act))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                stop.set()  # the thread sees it within a fraction of a second and kills its child
                await asyncio.wait([work])
                if not work.cancelled():
                    work.exception()
                raise


def credential_from_file(path: Path, host: str) -> CredentialSource:
    """Reads `user:password`, or a token alone, from the first line of a file, anew each time (it may be renewed)."""

    async def read() -> GitCredential:
        line = await asyncio.to_thread(read_credential, path)
        username, colon, password = line.partition(":")
        if not colon:
            username, password = "git", line
        return GitCredential(host=host, username=username, password=password, expires_in=0)

    return read


def read_credential(path: Path) -> str:
    """The first line of a credential's file. Raises Rejected when there is none."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "is not text"
        raise Rejected(f"the Git credential's file {path} cannot be read: {cause}") from None
    line = text.strip().split("\n", 1)[0].strip()
    if not line:
        raise Rejected(f"the Git credential's file {path} is empty")
    return line
