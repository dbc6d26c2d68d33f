"""Touches the disk and the network: which Atlas this site has, its clone, and polling it."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from structlog.typing import FilteringBoundLogger

from agents.contracts.identity import AtlasSource, GitCredential
from agents.contracts.messages import Phase, Problem
from agents.core.atlas import check_assigned
from agents.core.errors import GalleyError, Rejected, Retryable
from agents.core.ports import Clock, Identity
from agents.core.proxy import through
from agents.core.settings import EndpointSettings
from agents.io.state import StateFile
from agents.supervise.pulse import Pulse
from vessel.elector import Elector
from vessel.engine import Engine, Say
from vessel.git.clone import CloneBounds, NotFetched
from vessel.git.faults import AtlasAway
from vessel.git.remote import Remote
from vessel.git.repository import AtlasRepository, CredentialSource, credential_from_file
from vessel.keeper import Send
from vessel.model import Commit
from vessel.reports import WHOLE, Tally, report

_LOOK = 1.0
_MAX_PAUSE = 300.0
_MEASURE = re.compile(r"\d+ ?(ms|milliseconds|s|sec|seconds|bytes)\b")
POLL_FILE = "poll.json"


class Polled(msgspec.Struct, frozen=True, kw_only=True):
    """The state file `poll.json`, for `vessel status`: why the Atlas cannot be had (empty: it can), and since when
    (wall clock, ms). Written when that changes, not at each poll."""

    cause: str = ""
    since: int = 0


class Atlases:
    """The repository of the Atlas that the settings or the site document name; another source is another clone."""

    def __init__(
        self,
        directory: Path,
        *,
        fixed: AtlasSource | None,
        identity: Identity | None,
        remembered: StateFile[AtlasSource],
        ca_file: str = "",
        endpoint: EndpointSettings | None = None,
    ) -> None:
        self._directory = directory
        self._fixed = fixed
        self._identity = identity
        self._remembered = remembered
        self._ca_file = ca_file
        self._endpoint = endpoint
        self._source: AtlasSource | None = fixed or remembered.load()
        self._repository: AtlasRepository | None = None

    @property
    def source(self) -> AtlasSource | None:
        """Where the Atlas lies, as far as known."""
        return self._source

    @property
    def quarantined(self) -> list[Path]:
        """State files that were found corrupt and set aside."""
        return list(self._remembered.quarantined)

    async def refresh(self) -> None:
        """Asks the identity socket where the Atlas lies; what was known stays when it does not answer.

        Raises Retryable while nothing is known, Rejected when the site document names what it may not.
        """
        if self._fixed is not None or self._identity is None:
            return
        try:
            site = await self._identity.site()
        except Retryable:
            if self._source is None:
                raise
            return
        if site.atlas is not None and site.atlas != self._source:
            check_assigned(site.atlas)
            self._remembered.save(site.atlas)
            self._source, self._repository = site.atlas, None

    def repository(self) -> AtlasRepository:
        """The clone. Raises Rejected when the address is not usable, Retryable while none is known."""
        if self._source is None:
            raise Retryable("the site has no Atlas yet")
        if self._repository is None:
            source = self._source
            if self._fixed is None:
                check_assigned(source)
            remote = Remote(source.url, source.branch, self._ca_file, self._proxy(source.url))
            mark = hashlib.sha256(f"{source.url}\0{source.branch}".encode()).hexdigest()[:12]
            self._repository = AtlasRepository(
                self._directory / f"clone-{mark}", remote, credential=self._credential(source)
            )
        return self._repository

    def _proxy(self, url: str) -> str | None:
        """As Remote takes it: where the site has a proxy of its own, the environment says nothing."""
        if self._endpoint is None or self._endpoint.proxy is None:
            return None
        return through(self._endpoint, url) or ""

    async def checkout(self, revision: str, keep: Collection[str] = ()) -> Path:
        """The files of a revision; files of revisions that are not to be kept are removed. Raises as commit does."""
        try:
            return await self.repository().checkout(revision, keep)
        except NotFetched:
            await self._bring(revision)
        return await self.repository().checkout(revision, keep)

    async def commit(self, revision: str) -> Commit:
        """The facts of a revision, from the clone; fetched by its id where the clone does not have it.

        Raises AtlasAway when it can be had from neither. A clone may lack what is applied: another node applied it,
        or the clone was lost or damaged, and the branch has moved on since.
        """
        try:
            return await self.repository().commit(revision)
        except NotFetched:
            return await self._bring(revision)

    async def _bring(self, revision: str) -> Commit:
        try:
            return await self.repository().fetch(revision)
        except GalleyError as error:
            text = f"the Atlas' commit {revision[:12]} is not in this node's clone and cannot be fetched: {error}"
            raise AtlasAway(text) from error

    def take_quarantined(self) -> list[str]:
        """What of the clone was found damaged since the last call."""
        return self._repository.take_quarantined() if self._repository else []

    def _credential(self, source: AtlasSource) -> CredentialSource | None:
        kind, _, rest = source.credential.partition(":")
        if kind == "none":
            return None
        if kind == "file" and rest:
            return credential_from_file(Path(rest), urlsplit(source.url).hostname or "")
        if kind == "endpoint":
            identity = self._identity
            if identity is None:
                raise Rejected("the Atlas' credential is `endpoint`, but there is no identity socket")

            async def ask() -> GitCredential | None:
                return await identity.git_credential()

            return ask
        raise Rejected(f"the Atlas' credential {kind!r} is not none, file:<path> or endpoint")


class Poller:
    """Asks the remote while this node is the writer; else fetches what the writer's Lease names."""

    def __init__(
        self,
        *,
        atlases: Atlases,
        elector: Elector,
        engine: Engine,
        clock: Clock,
        log: FilteringBoundLogger,
        say: Say,
        send: Send,
        alarm: Callable[[str], Awaitable[None]],
        poll_seconds: float,
        sync_file: Path,
        state: StateFile[Polled],
    ) -> None:
        self._atlases = atlases
        self._elector = elector
        self._engine = engine
        self._clock = clock
        self._log = log
        self._say = say
        self._send = send
        self._alarm = alarm
        self._poll_seconds = poll_seconds
        self._sync_file = sync_file
        self._state = state
        self._polled = state.load() or Polled()
        self._logged = ""
        self._synced = self._sync_mark()
        self._told = ""
        self._stated = False
        self._failures = 0

    async def run(self, pulse: Pulse) -> None:
        """The loop."""
        next_poll = 0.0
        was_leading = False
        fetched = ""
        while not pulse.stopping:
            pulse.expect(CloneBounds().turn_seconds)
            leading, now = self._elector.leading, self._clock.monotonic()
            mark = self._sync_mark()
            asked = mark != self._synced
            self._synced = mark
            if leading and (now >= next_poll or not was_leading or asked):
                await self._guarded(self._poll)
                next_poll = self._clock.monotonic() + self._pause()
            elif not leading and self._elector.revision and self._elector.revision != fetched:
                wanted = self._elector.revision
                if await self._guarded(partial(self._follow, wanted)):
                    fetched = wanted
            was_leading = leading
            self._stated = self._stated and leading
            for damaged in self._atlases.take_quarantined():
                await self._alarm(damaged)
            await pulse.sleep(min(_LOOK, self._poll_seconds))

    def _pause(self) -> float:
        return (
            min(_MAX_PAUSE, self._poll_seconds * 2 ** min(self._failures, 6)) if self._failures else self._poll_seconds
        )

    async def _poll(self) -> None:
        await self._atlases.refresh()
        repository = self._atlases.repository()
        revision = await repository.poll()
        if revision != self._engine.head:
            self._log.info("a new commit", revision=revision)
            self._engine.offer(await repository.fetch(revision))
        self._elector.announce(revision)
        if self._told or not self._stated:  # the last word may be a complaint, of ours or of a writer before us
            self._engine.restate()
            self._stated = True

    async def _follow(self, revision: str) -> None:
        await self._atlases.refresh()
        repository, before = self._atlases.repository(), self._engine.head
        self._engine.offer(await repository.fetch(revision))
        try:
            kept = {revision, before, *await self._engine.kept()} - {""}
            if not self._elector.leading:  # else the engine tidies
                await repository.tidy(kept)
        except GalleyError as error:  # the commit is here; the clone is tidied with the next one
            self._log.warning("the Atlas' clone cannot be tidied now", cause=str(error))

    async def _guarded(self, action: Callable[[], Awaitable[Any]]) -> bool:
        try:
            await action()
        except Retryable as error:
            self._failures += 1
            kept = " (what was applied is kept from drifting)" if self._engine.keeping else ""
            self._say("git", False, f"{error}{kept}")
            self._note(str(error))
            return False
        except Rejected as error:
            self._failures += 1
            self._say("git", False, str(error))
            self._note(str(error))
            await self._complain(str(error))
            return False
        self._failures = 0
        self._told = ""
        self._say("git", True, "reachable")
        self._note("")
        return True

    def _note(self, cause: str) -> None:
        """Logs and keeps a cause that is another than before; how long a try took makes none of it."""
        if _same(cause) != _same(self._logged):
            if cause:
                self._log.warning("the Atlas cannot be polled", cause=cause)
            else:
                self._log.info("the Atlas can be polled again")
        self._logged = cause
        if _same(cause) == _same(self._polled.cause):
            return
        polled = Polled(cause=cause[:4000], since=self._clock.wall_ms())
        with contextlib.suppress(Retryable):  # a full disk: told by the outbox; the next poll tries again
            self._state.save(polled)
            self._polled = polled

    async def _complain(self, cause: str) -> None:
        if cause == self._told:
            return
        self._told = cause
        problem = Problem(cause=cause[:4000])
        # No revision: which one the branch is at is what cannot be learned, and the one known is not refused.
        await self._send(report(WHOLE, "", Commit(""), Phase.REFUSED, Tally(), [problem]))

    def _sync_mark(self) -> tuple[int, int]:
        """Changes when Edge Commander replaced the file by which a person asks for a poll now."""
        try:
            found = self._sync_file.stat()
        except OSError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_ino)


def _same(cause: str) -> str:
    return _MEASURE.sub("", cause)[:4000]
