"""A real Vessel process with a folder of its own, and its reports as its log and its outbox tell them."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests.site_in_a_box.process import Program

FINAL = ("healthy", "refused", "degraded", "partial", "prune-held")


class VesselProcess:
    """`vessel --config FILE`, alone: no endpoint, no commander. `identity`: the lease holder's name."""

    def __init__(
        self, folder: Path, *, kubeconfig: Path, kubectl: Path, atlas: dict[str, Any] | None = None, **settings: Any
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.state = folder / "state" / "vessel"
        own = {
            "kubeconfig": str(kubeconfig),
            "kubectl": str(kubectl),
            "poll_seconds": 0.2,
            "identity": folder.name,
            "health": {"port": 0},
            **settings,
        }
        if atlas is not None:
            own["atlas"] = atlas
        self.config = folder / "vessel.yaml"
        node = {"state_dir": str(folder / "state"), "run_dir": str(folder / "run")}
        self.config.write_text(yaml.safe_dump({"v": 1, "node": node, "vessel": own}))
        env = {key: value for key, value in os.environ.items() if not key.startswith("GALLEY_")}
        self.program = Program(
            f"vessel {folder.name}",
            [sys.executable, "-m", "vessel", "--config", str(self.config)],
            log=folder / "log",
            env=env,
            cwd=Path(__file__).parents[2],
        )

    def start(self) -> VesselProcess:
        """Starts it; does not wait."""
        self.program.start()
        return self

    def kill(self) -> None:
        """SIGKILL."""
        self.program.kill()

    def stop(self) -> None:
        """SIGTERM; it must end by itself."""
        self.program.stop(grace=12)

    def events(self) -> list[dict[str, Any]]:
        """All log lines so far."""
        if not self.program.log.exists():
            return []
        lines = self.program.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def reports(self, **wanted: Any) -> list[dict[str, Any]]:
        """Reports in the log, those whose fields are as wanted."""
        found = [event for event in self.events() if event.get("event") == "report"]
        return [r for r in found if all(r.get(key) == value for key, value in wanted.items())]

    def outbox(self) -> list[dict[str, Any]]:
        """The bodies of all reports in the outbox, in order (read while the process may run)."""
        with sqlite3.connect(f"file:{self.state / 'outbox.db'}?mode=ro", uri=True) as connection:
            rows = connection.execute("SELECT body FROM messages ORDER BY run, seq").fetchall()
        return [json.loads(row[0]) for row in rows]

    async def wait_report(self, *, seconds: float = 60.0, count: int = 1, **wanted: Any) -> dict[str, Any]:
        """Waits for a report (`app`, `phase`, `revision`); AssertionError with the log's tail when it does not come."""
        return await self.wait(lambda: self.reports(**wanted)[count - 1 : count], f"report {wanted}", seconds=seconds)

    async def wait(self, probe: Any, what: str, *, seconds: float = 60.0) -> Any:
        """Polls until `probe` gives something true; that is returned (the first item of a list)."""
        deadline = time.monotonic() + seconds
        while True:
            found = probe()
            if found:
                return found[0] if isinstance(found, list) else found
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s: {what}\n{self.program.log_tail(30)}")
            await asyncio.sleep(0.05)
