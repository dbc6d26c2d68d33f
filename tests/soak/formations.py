"""Sites that form amid faults: real etcd alone (tests/site_in_a_box/etcd_site), and full ones on hosts."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.site_in_a_box.endpoint import Endpoint
from tests.site_in_a_box.etcd_site.chaos import election_of, live
from tests.site_in_a_box.etcd_site.disk import cluster_ids
from tests.site_in_a_box.etcd_site.site import GATEWAY
from tests.site_in_a_box.forming_site import FormingSite, token_is_good

FILES = {
    "apps/card/app.yaml": "v: 1\nowner: a\nnamespace: default\n",
    "apps/card/card.yaml": "apiVersion: v1\nkind: ConfigMap\n"
    "metadata: {name: card, namespace: default}\ndata: {greeting: hello}\n",
}
FULL_SECONDS = 900.0


def etcd_formations(folder: Path, count: int, seed: int, at_a_time: int) -> Iterator[str]:
    """`count` sites with seeds from `seed` on; a row of the report. Goes on where one fails, and raises at the end."""
    endpoint, healed, failed = Endpoint(folder / "cloud", names=[GATEWAY]), [], []
    began = time.monotonic()
    endpoint.start()
    try:
        with ThreadPoolExecutor(at_a_time) as pool:
            seeds = range(seed, seed + count)
            todo = [pool.submit(live, folder / str(one), endpoint, one, election_of(one)) for one in seeds]
            for done in as_completed(todo):
                if (error := done.exception()) is None:
                    print(done.result(), flush=True)
                    healed.append(done.result().healed)
                else:
                    print(f"FAILED {error!r}\n{error}", flush=True)
                    failed.append(str(error).split(",")[0])
    finally:
        endpoint.stop()
    times = sorted(healed) or [0.0]
    yield (
        f"| {count} sites of three with real etcd form amid cuts, restarts, partitions and dead lines, seeds {seed} to "
        f"{seed + count - 1}, in {time.monotonic() - began:.0f} s | {len(healed)} became one cluster; after the last "
        f"repair in {times[len(times) // 2]:.0f} s (median), {times[-1]:.0f} s (longest) |"
    )
    assert not failed, f"did not come through: {', '.join(failed)}"


def full_formations(folder: Path, count: int, seed: int) -> Iterator[str]:
    """`count` sites of three hosts with the full control plane, one of them cut at a random moment."""
    for one in range(seed, seed + count):
        yield _full(folder / f"full-{one}", one)


def _full(folder: Path, seed: int) -> str:
    rng = random.Random(seed)
    folder.mkdir(mode=0o755, parents=True)
    site = FormingSite(folder, election=election_of(seed), overlap_hours=0.01)
    at, off, number = rng.uniform(0, 60), rng.uniform(0, 10), rng.randrange(3)
    print(f"seed {seed}: host {number + 1} is cut {at:.0f} s after the last boot, for {off:.0f} s", flush=True)
    try:
        site.up(FILES)
        time.sleep(at)
        host = site.hosts[number]
        host.cut_power()
        time.sleep(off)
        site.power(host)
        host.boot()
        took = site.wait(site.ready, FULL_SECONDS, f"seed {seed}: every node is ready")
        clusters = site.clusters()
        ids = set().union(*(cluster_ids(one.folder / "disks/etcd") for one in site.hosts))
        assert len(clusters) == len(ids) == 1, f"seed {seed}: {clusters} {ids}\n{site.story()}"
        changed = _rotated(site)
    finally:
        site.down()
        shutil.rmtree(folder, ignore_errors=True)
    return (
        f"| three hosts with the full control plane ({election_of(seed)}), one cut {at:.0f} s after the last boot, "
        f"seed {seed} | one cluster, all ready {took:.0f} s after its next boot; its secrets changed in three "
        f"generations in {changed:.0f} s |"
    )


def _rotated(site: FormingSite) -> float:
    """The site's secrets are changed by an order; s. What the old key signed is refused once that is dropped."""
    old = site.hosts[0].kubectl("create", "token", "default", "--duration=2h")
    order = {"order": {"site": site.site, "epoch": 1, "kind": "rotate", "number": 1, "issued_at": int(time.time())}}
    asyncio.run(site.order(order))
    took = site.wait(
        lambda: all((one.get("secrets"), one.get("runs")) == (4, 4) for one in map(site.status, site.hosts)),
        FULL_SECONDS,
        "the secrets are changed on all three",
    )
    site.wait(lambda: {token_is_good(host, old) for host in site.hosts} == {"no"}, 60, "the old key is gone")
    return took
