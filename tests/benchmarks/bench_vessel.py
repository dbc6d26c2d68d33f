"""Vessel against `kubectl apply --server-side`: first apply of an Atlas, dry run included; then a pass with no change.

Each run gets an API server of its own, so that both start from nothing. All apps are put into one stage, since
kubectl waits for nothing. Both begin with rendered manifests: kubectl's time is that of the command, Vessel's goes
from having read the commit to the answer of its last write (lists, watches, dry run of all, inventory, all writes);
`reading_s` is what Git and kustomize took before.

    python -m tests.benchmarks.bench_vessel [--rounds 3] [--quiet-seconds 20]      (SAMPLES=DIR adds its apps)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from tests.site_in_a_box import kube_build, samples
from tests.site_in_a_box.gitrepos import GitRepo
from tests.site_in_a_box.kube_etcd import Etcd
from tests.site_in_a_box.kube_site import KubeSite
from tests.site_in_a_box.vessel_process import VesselProcess
from vessel.model import Atlas, Commit
from vessel.reading.atlas import read_atlas
from vessel.reading.kustomize import KubectlKustomizer

ROOT = Path(__file__).parents[2]
AGENT = "galley-vessel"


def own_atlas(folder: Path) -> None:
    """The project's Atlas, all apps in one stage."""
    shutil.copytree(ROOT / "examples/atlas", folder, dirs_exist_ok=True)
    for file in folder.rglob("app.yaml"):
        file.write_text(re.sub(r"(?m)^stage:.*\n", "", file.read_text()))


def sample_atlas(name: str, source: Path) -> Callable[[Path], None]:
    """One sample as an app, with its namespace."""

    def make(folder: Path) -> None:
        app = folder / "apps" / name
        shutil.copytree(source, app / "manifests")
        (app / "app.yaml").write_text(f"v: 1\nowner: samples\nnamespace: {name}\npath: manifests\n")
        base = folder / "apps" / f"{name}-namespace"
        base.mkdir(parents=True)
        (base / "app.yaml").write_text(f"v: 1\nowner: samples\nnamespace: {name}\n")
        (base / "ns.yaml").write_text(f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")

    return make


def rendered(atlas: Atlas) -> tuple[str, int]:
    """All objects as one YAML text, namespaces first, each with its namespace written in; and how many."""
    bodies = []
    for app in atlas.apps:
        for manifest in app.manifests:
            body = dict(manifest.body)
            if manifest.ref.kind not in ("Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass"):
                body["metadata"] = {"namespace": app.spec.namespace, **body["metadata"]}
            bodies.append(body)
    bodies.sort(key=lambda body: body["kind"] != "Namespace")
    return "---\n".join(yaml.safe_dump(body) for body in bodies), len(bodies)


def kubectl_run(site: KubeSite, text: str, folder: Path) -> float:
    """Seconds of one `kubectl apply --server-side`."""
    file = folder / "all.yaml"
    file.write_text(text)
    began = time.monotonic()
    site.kubectl("apply", "--server-side", "-f", str(file), timeout=300)
    return time.monotonic() - began


def _events(site: KubeSite, agent: str) -> list[dict[str, Any]]:
    lines = site.audit_log.read_text().splitlines() if site.audit_log else []
    events = [json.loads(line) for line in lines if line.endswith("}")]
    return [event for event in events if event.get("userAgent", "").startswith(agent)]


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


async def vessel_run(site: KubeSite, repo: GitRepo, folder: Path, objects: int, quiet: float) -> dict[str, Any]:
    """One first apply, and a while without a change."""
    kubectl = kube_build.ensure() / "kubectl"
    vessel = VesselProcess(
        folder / "vessel",
        kubeconfig=site.kubeconfig,
        kubectl=kubectl,
        atlas={"url": repo.url},
        concurrency=int(os.environ.get("CONCURRENCY", "8")),
    )
    vessel.start()
    try:
        await vessel.wait(lambda: _written(site) >= objects, "all written", seconds=120)
        await asyncio.sleep(1.0)
        seen = next(_seconds(e["ts"]) for e in vessel.events() if e["event"] == "checking")
        began = next(_seconds(e["ts"]) for e in vessel.events() if e.get("phase") == "checking")
        events = [e for e in _events(site, AGENT) if e["stage"] == "ResponseComplete"]
        ended = max(
            _seconds(e["stageTimestamp"]) for e in events if e["verb"] == "patch" and "dryRun" not in e["requestURI"]
        )
        ordinary = [e for e in events if _seconds(e["requestReceivedTimestamp"]) >= began and e["verb"] != "watch"]
        pass_calls = Counter(
            "dry-run" if "dryRun" in e["requestURI"] else e["verb"]
            for e in ordinary
            if e["objectRef"]["resource"] != "leases"
        )
        mark, disk = site.audit_mark(), _disk(vessel)
        await asyncio.sleep(quiet)
        rest = Counter((c.verb, c.resource) for c in site.audit_calls(since=mark) if c.user_agent.startswith(AGENT))
        return {
            "seconds": ended - began,
            "reading": began - seen,
            "calls": dict(pass_calls),
            "quiet": {" ".join(kind): n for kind, n in rest.items()},
            "quiet_disk_writes": _disk(vessel) != disk,
            "pss_mb": round(vessel.program.pss_bytes() / 1e6, 1),
        }
    finally:
        vessel.stop()


def _written(site: KubeSite) -> int:
    return sum(
        e["verb"] == "patch" and e["stage"] == "ResponseComplete" and "dryRun" not in e["requestURI"]
        for e in _events(site, AGENT)
        if (e.get("user") or {}).get("username") and e.get("impersonatedUser")
    )


def _disk(vessel: VesselProcess) -> dict[str, tuple[int, int]]:
    files = (path for path in vessel.state.rglob("*") if not path.name.endswith("-shm"))
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


async def measure(name: str, make: Callable[[Path], None], folder: Path, rounds: int, quiet: float) -> dict[str, Any]:
    """All rounds of one Atlas, kubectl and Vessel in turn."""
    repo = GitRepo(folder, "atlas")
    make(repo.work)
    revision = repo.commit_all(name)
    kubectl = kube_build.ensure() / "kubectl"
    atlas = await read_atlas(repo.work, Commit(revision), KubectlKustomizer(str(kubectl)))
    text, objects = rendered(atlas)
    peer, ours = [], []
    with Etcd(kube_build.ensure(), folder) as etcd:
        for turn in range(rounds):
            with KubeSite(f"k{turn}", folder, etcd, controllers=False) as site:
                peer.append(await asyncio.to_thread(kubectl_run, site, text, folder))
            with KubeSite(f"v{turn}", folder, etcd, controllers=False) as site:
                ours.append(await vessel_run(site, repo, folder / f"v{turn}", objects, quiet if turn == 0 else 0.5))
    seconds = statistics.median(run["seconds"] for run in ours)
    return {
        "atlas": name,
        "objects": objects,
        "apps": len(atlas.apps),
        "kubectl_objects_per_s": round(objects / statistics.median(peer), 1),
        "vessel_objects_per_s": round(objects / seconds, 1),
        "ratio": round(statistics.median(peer) / seconds, 2),
        "kubectl_s": [round(s, 3) for s in peer],
        "vessel_s": [round(run["seconds"], 3) for run in ours],
        "reading_s": [round(run["reading"], 3) for run in ours],
        "vessel_calls": ours[0]["calls"],
        "quiet": ours[0]["quiet"],
        "quiet_disk_writes": ours[0]["quiet_disk_writes"],
        "pss_mb": ours[0]["pss_mb"],
    }


def main() -> None:
    """Prints one JSON line for each Atlas."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quiet-seconds", type=float, default=20.0)
    options = parser.parse_args()
    atlases: dict[str, Callable[[Path], None]] = {"own": own_atlas}
    source = samples.folder()
    if source is not None:
        atlases |= {name: sample_atlas(name, path) for name, path in samples.apps(source).items()}
    for name, make in atlases.items():
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(measure(name, make, Path(folder), options.rounds, options.quiet_seconds))
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
