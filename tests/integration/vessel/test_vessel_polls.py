"""What the poller says and keeps of a Git server that is away; real Git over loopback, no cluster."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

import structlog
import yaml

from agents.contracts.identity import AtlasSource
from agents.io.clock import SystemClock
from agents.io.state import StateFile
from agents.supervise.pulse import Pulse
from tests.site_in_a_box.gitrepos import GitRepo
from tests.site_in_a_box.gitserver import GitServer
from vessel.atlases import POLL_FILE, Atlases, Polled, Poller
from vessel.cli_status import _configured, _polled, as_text


class Leading:
    """The elector, as a writer sees it."""

    leading, revision = True, ""

    def announce(self, revision: str) -> None:
        self.revision = revision


class Following:
    """The engine, as far as the poller knows it."""

    def __init__(self, keeping: bool) -> None:
        self.head, self.keeping = "", keeping
        self.standing: set[str] = set()

    def offer(self, commit: Any) -> None:
        self.head = commit.revision

    def restate(self) -> None:
        pass

    async def kept(self) -> set[str]:
        return {self.head, *self.standing}


class Run:
    """A poller that polls as fast as it may, what it logs and what health says."""

    def __init__(self, folder: Path, url: str, *, keeping: bool) -> None:
        self.stopping, self.health, self.polls = asyncio.Event(), "", 0
        self.state = StateFile(folder / POLL_FILE, Polled)
        source, none = AtlasSource(url=url, branch="main", credential="none"), StateFile(folder / "s", AtlasSource)
        self.engine, self.elector = Following(keeping), Leading()
        self.poller = Poller(
            atlases=Atlases(folder, fixed=source, identity=None, remembered=none),
            elector=self.elector,  # type: ignore[arg-type]
            engine=self.engine,  # type: ignore[arg-type]
            clock=SystemClock(),
            log=structlog.get_logger(),
            say=self._say,
            send=self._never,
            alarm=self._never,
            poll_seconds=0.01,
            sync_file=folder / "sync.json",
            state=self.state,
        )

    def _say(self, component: str, ok: bool, text: str) -> None:
        assert component == "git"
        self.health, self.polls = text, self.polls - 1
        if not self.polls:
            self.stopping.set()

    async def _never(self, what: Any) -> None:
        raise AssertionError(what)

    async def until(self, polls: int) -> None:
        """Runs the loop until it has polled so often more."""
        self.stopping.clear()
        self.polls = polls
        async with asyncio.timeout(30):
            await self.poller.run(Pulse("atlas", SystemClock(), self.stopping))


async def test_an_unreachable_git_server_is_logged_once_and_kept(
    tmp_path: Path, origin: GitRepo, server: GitServer
) -> None:
    run = Run(tmp_path, server.url(origin.bare.name), keeping=True)
    with structlog.testing.capture_logs() as logs:
        await run.until(2)
        assert run.engine.head == origin.head()
        assert not run.state.path.exists(), "nothing changed, so nothing is written"
        await server.cut()
        await run.until(3)
        written = run.state.path.stat()
        assert "cannot be reached" in run.health and "kept from drifting" in run.health
        await run.until(2)
        assert run.state.path.stat().st_ino == written.st_ino
        again = Run(tmp_path, server.url(origin.bare.name), keeping=False)
        await again.until(2)
        assert "cannot be reached" in again.health and "drifting" not in again.health
        assert run.state.path.stat().st_ino == written.st_ino, "the next process knows what was written"
        await server.mend()
        await again.until(1)
    words = [(e["event"], e["log_level"]) for e in logs if "polled" in e["event"]]
    away = ("the Atlas cannot be polled", "warning")
    assert words == [away, away, ("the Atlas can be polled again", "info")], "once for each process"
    assert all("cannot be reached" in e["cause"] for e in logs if e["event"] == away[0])
    assert (run.state.load() or Polled(cause="?")).cause == ""


async def test_status_says_why_the_atlas_cannot_be_had(tmp_path: Path, origin: GitRepo, server: GitServer) -> None:
    state = tmp_path / "state" / "vessel"
    state.mkdir(parents=True)
    run = Run(state, server.url(origin.bare.name), keeping=False)
    config = tmp_path / "vessel.yaml"
    own = {"atlas": {"url": server.url(origin.bare.name)}, "kubeconfig": "/k"}
    config.write_text(yaml.safe_dump({"v": 1, "node": {"state_dir": str(state.parent)}, "vessel": own}))
    options = argparse.Namespace(config=config, kubeconfig=None)
    kubeconfig, found = await asyncio.to_thread(_configured, options)
    assert (kubeconfig, found) == (Path("/k"), state)
    assert _polled(found) == {"known": False, "cause": "", "since": ""}
    await server.cut()
    await run.until(1)
    told = _polled(found)
    assert told["known"] and "cannot be reached" in told["cause"] and told["since"].startswith("20")
    facts = dict.fromkeys(("writer", "newest", "applied", "healthy", "quarantined", "reason"), "")
    text = as_text({**facts, "apps": {}, "git": told})
    assert "git          the Atlas at http://127.0.0.1" in text


async def test_the_clone_of_a_node_that_never_leads_stays_small(tmp_path: Path, origin: GitRepo) -> None:
    run = Run(tmp_path, origin.url, keeping=False)
    run.elector.leading = False
    healthy = origin.head()
    run.engine.standing = {healthy}
    made = [healthy, *(origin.commit({"n.yaml": f"n: {n}\n"}, str(n)) for n in range(16))]
    for revision in made:
        run.elector.revision = revision
        await run.until(1)
    clone = next(tmp_path.glob("clone-*/clone.git"))
    assert {path.name for path in clone.glob("refs/vessel/*")} == {healthy, *made[-2:]}
    assert len(list(clone.glob("objects/pack/*.pack"))) <= 12
