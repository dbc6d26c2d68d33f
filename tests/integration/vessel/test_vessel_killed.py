"""kill -9 at any moment: the next pass converges, no orphan is left, no report is lost. All real."""

from __future__ import annotations

import asyncio
import random
from typing import Any

ROUNDS = 12


def atlas(slate: Any, turn: int) -> dict[str, str | None]:
    """Commit number `turn`: maps come and go, all change, a workload is scaled."""
    files: dict[str, str | None] = {
        "apps/base/app.yaml": slate.app(stage=-1),
        "apps/base/ns.yaml": slate.namespace(),
        "apps/web/app.yaml": slate.app(),
        "apps/web/web.yaml": slate.deployment("web", 1 + turn % 3),
        "apps/data/app.yaml": slate.app(stage=1),
    }
    for n in range(12):
        there = (n + turn) % 4 != 0
        files[f"apps/data/m{n}.yaml"] = slate.config_map(f"m{n}", turn=str(turn)) if there else None
    return files


def wanted(turn: int) -> set[str]:
    """What is to be in the namespace at that commit."""
    return {"deployment/web", *(f"configmap/m{n}" for n in range(12) if (n + turn) % 4 != 0)}


async def test_killed_anywhere_it_converges_and_leaves_no_orphan(slate: Any) -> None:
    chance = random.Random(20)
    slate.repo.commit({k: v for k, v in atlas(slate, 0).items() if v is not None}, "turn 0")
    vessel = slate.vessel(poll_seconds=0.1)
    seen: list[int] = []
    for turn in range(1, ROUNDS + 1):
        vessel.start()
        before = len(vessel.events())
        await vessel.wait(lambda b=before: any(e["event"] == "ready" for e in vessel.events()[b:]), "ready")
        here = atlas(slate, turn)
        files = {n: c for n, c in here.items() if c is not None or (slate.repo.work / n).exists()}
        slate.repo.commit(files, f"turn {turn}")
        await asyncio.sleep(chance.uniform(0.0, 2.5))
        vessel.kill()
        queued = [(body["app"], body["phase"], body["revision"]) for body in vessel.outbox()]
        seen.append(len(queued))
    assert seen == sorted(seen), "a report that was queued is gone"
    vessel.start()
    head = slate.repo.head()
    await vessel.wait(
        lambda: any(b["revision"] == head and b["app"] == "*" and b["phase"] == "healthy" for b in vessel.outbox()),
        "the last commit is healthy",
    )
    assert slate.names() == wanted(ROUNDS)
    for n in range(12):
        if (n + ROUNDS) % 4 != 0:
            assert slate.get("configmap", f"m{n}")["data"] == {"turn": str(ROUNDS)}
    assert slate.get("deployment", "web")["spec"]["replicas"] == 1 + ROUNDS % 3
    # The inventory names what is there, and nothing else: what it names is deletable, so nothing is orphaned.
    last = slate.repo.commit({f"apps/data/m{n}.yaml": None for n in (1, 2, 3) if (n + ROUNDS) % 4 != 0}, "fewer")
    await vessel.wait_report(app="*", phase="healthy", revision=last)
    assert slate.names() == wanted(ROUNDS) - {"configmap/m1", "configmap/m2", "configmap/m3"}
