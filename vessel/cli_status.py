"""`vessel status`: where the site stands, as the cluster itself tells: who writes, which revision, each app."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agents.contracts.messages import Phase
from agents.core.errors import ConfigError, Rejected, Retryable
from agents.io import config
from agents.io.kube import Kube
from agents.io.state import StateFile
from vessel.atlases import POLL_FILE, Polled
from vessel.elector import LEASES
from vessel.engine import REFUSED_FILE, Refusal
from vessel.inventory_store import InventoryStore
from vessel.lease import read
from vessel.settings import VesselSettings

SYSTEM = "galley-system"
EX_CONFIG = 78
T = TypeVar("T")


def main(argv: Sequence[str]) -> int:
    """The subcommand; the exit status: 0 all well, 3 something is not, 1 the cluster did not tell, 78 wrong config."""
    parser = argparse.ArgumentParser(prog="vessel status", description=__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.add_argument("--kubeconfig", type=Path)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    options = parser.parse_args(argv)
    try:
        kubeconfig, state = _configured(options)
        polled = _polled(state)
        document = {**asyncio.run(_collect(kubeconfig)), "git": polled}
        document["refused"] = _refused(state, document["newest"]) if document["newest"] != document["applied"] else []
        document["well"] = document["well"] and not polled["cause"]
    except ConfigError as error:
        for problem in error.problems:
            print(f"vessel status: {problem}", file=sys.stderr)
        return EX_CONFIG
    except (Rejected, Retryable) as error:
        print(f"vessel status: {error}", file=sys.stderr)
        return 1
    print(json.dumps(document, indent=2) if options.output == "json" else as_text(document))
    return 0 if document["well"] else 3


def _configured(options: argparse.Namespace) -> tuple[Path | None, Path | None]:
    """The kubeconfig and Vessel's state directory; the latter None on a machine that is configured for no Vessel."""
    try:
        settings = config.load("vessel", VesselSettings, options.config)
    except ConfigError:
        if options.kubeconfig is None or options.config is not None:
            raise
        return options.kubeconfig, None
    own = settings.own.kubeconfig
    return options.kubeconfig or (Path(own) if own else None), Path(settings.node.state_dir) / "vessel"


def _noted(state: Path | None, name: str, type_: type[T]) -> T | None:
    """A state file of this node's Vessel; None where there is none, or it cannot be read."""
    return StateFile(state / name, type_).peek() if state else None


def _polled(state: Path | None) -> dict[str, Any]:
    """Why this node's Vessel cannot have the Atlas, as it last noted; `known` is False where that cannot be read."""
    polled = _noted(state, POLL_FILE, Polled)
    since = datetime.fromtimestamp(polled.since / 1000, UTC).isoformat(timespec="seconds") if polled else ""
    return {"known": polled is not None, "cause": polled.cause if polled else "", "since": since}


def _refused(state: Path | None, newest: str) -> list[str]:
    """Why this node's Vessel refused the newest commit, a line a problem; empty where it did not, or is not known."""
    refusal = _noted(state, REFUSED_FILE, Refusal)
    return refusal.problems if refusal is not None and refusal.revision == newest else []


async def _collect(kubeconfig: Path | None) -> dict[str, Any]:
    kube = await Kube.connect(kubeconfig=kubeconfig, user_agent="galley-vessel-status")
    try:
        lease = read(await kube.get(LEASES, SYSTEM, "vessel"))
        store = InventoryStore(kube, SYSTEM, lambda: 0.0)
        await store.load()
    finally:
        await kube.aclose()
    standing = store.standing
    apps = {name: msgspec.to_builtins(app) for name, app in standing.apps.items()}
    for name, inventory in store.inventories.items():
        app = apps.setdefault(name, {})
        app["objects"] = len(inventory.entries)
        app.setdefault("owner", inventory.meta.owner)
    newest = lease.revision if lease else ""
    return {
        "v": 1,
        "writer": lease.holder if lease else "",
        "newest": newest,
        "applied": standing.applied,
        "healthy": standing.healthy,
        "quarantined": standing.quarantined,
        "reason": standing.reason,
        "apps": apps,
        "well": bool(standing.applied)
        and standing.applied == standing.healthy
        and newest in ("", standing.applied)
        and not any(app.phase == Phase.PARTIAL for app in standing.apps.values()),
    }


def as_text(document: dict[str, Any]) -> str:
    """For people."""
    lines = [
        f"writer       {document['writer'] or 'nobody'}",
        f"newest       {document['newest'] or 'unknown'}",
        f"applied      {document['applied'] or 'nothing yet'}",
        f"healthy      {document['healthy'] or 'nothing yet'}",
    ]
    if document["git"]["cause"]:
        lines.append(f"git          {document['git']['cause']} (since {document['git']['since']})")
    if document.get("refused"):
        lines.append(f"refused      {document['newest']}: nothing of it was applied")
        lines += [f"             ! {problem}" for problem in document["refused"]]
    if document["quarantined"]:
        lines.append(f"quarantined  {document['quarantined']}: {document['reason']}")
    width = max([3, *(len(name) for name in document["apps"])])
    lines.append(f"{'APP':{width}}  {'OBJECTS':>7}  {'PHASE':12}  OWNER")
    for name, app in sorted(document["apps"].items()):
        lines.append(f"{name:{width}}  {app.get('objects', 0):7}  {app.get('phase', ''):12}  {app.get('owner', '')}")
        lines += [f"{'':{width}}  ! {problem}" for problem in app.get("problems", ())]
    return "\n".join(lines)
