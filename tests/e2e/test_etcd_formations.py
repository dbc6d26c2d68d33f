"""Ten sites of real commanders with real etcd form amid power cuts, partitions and dead lines: one cluster each.

What is real and what is played: tests/site_in_a_box/etcd_site. A seed that failed: `python -m
tests.site_in_a_box.etcd_site.chaos SEED`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.site_in_a_box.endpoint import Endpoint
from tests.site_in_a_box.etcd_site.box import Box
from tests.site_in_a_box.etcd_site.chaos import BOUND_SECONDS, election_of, live
from tests.site_in_a_box.etcd_site.commander import LOOK_SECONDS
from tests.site_in_a_box.etcd_site.site import GATEWAY, EtcdSite

pytestmark = pytest.mark.timeout(900)
SEEDS = range(1, 11)
AT_A_TIME = 4


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.fail("boxes with namespaces of their own need root: run this tier as root (sudo -E make test)")
    folder = Path(tempfile.mkdtemp(prefix="galley-es-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def endpoint(folder: Path) -> Iterator[Endpoint]:
    endpoint = Endpoint(folder / "cloud", names=[GATEWAY])
    endpoint.start()
    yield endpoint
    endpoint.stop()


@pytest.fixture(scope="module")
def lives(folder: Path, endpoint: Endpoint) -> Iterator[dict[int, Future[Any]]]:
    """All sites, a few at a time, as most of a formation is waiting; 0: the one that grows and shrinks."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        lives: dict[int, Future[Any]] = {0: pool.submit(grow_and_shrink, folder / "0", endpoint)}
        for seed in SEEDS:
            lives[seed] = pool.submit(live, folder / str(seed), endpoint, seed, election_of(seed))
        yield lives
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_site_forms_one_cluster_whatever_befalls_it(lives: dict[int, Future[Any]], seed: int) -> None:
    print(lives[seed].result())


def test_one_node_becomes_three_five_three_and_one_and_keeps_its_data(lives: dict[int, Future[Any]]) -> None:
    print(lives[0].result())


def roster_names(box: Box) -> list[str]:
    """Whom the roster names with keys, of the document that the box took; one that was revoked has none."""
    document = json.loads((box.folder / "lib/galley-ident/site.json").read_bytes())["value"]
    return [one["name"] for one in document["roster"] if one["signing"]]


def grow_and_shrink(folder: Path, endpoint: Endpoint) -> list[str]:
    """By shipping and revoking; what etcd held at first is there to the end. Two to one takes a person at the node: a
    roster alone takes out nobody where it names no majority of the servers (docs/decisions/0041)."""
    site, left, told = EtcdSite(folder, endpoint, "store-00999"), list[Box](), list[str]()

    def is_whole(what: str, *, holds: str = "kept") -> None:
        took = site.wait(lambda: site.whole(site.boxes), BOUND_SECONDS, what)
        told.append(f"{what}: {took:.0f} s")
        assert {site.read(box, "/first") for box in site.boxes} == {holds}

    def grow(count: int) -> None:
        for box in site.ship(count):
            box.power_on()
        is_whole(f"{len(site.boxes)} nodes")

    def revoke(count: int) -> list[Box]:
        gone, site.boxes = site.boxes[-count:], site.boxes[:-count]
        left.extend(gone)
        for box in gone:
            site.revoke(box)
        return gone

    def are_left(gone: list[Box]) -> None:
        is_whole(f"{len(site.boxes)} left")
        for box in gone:
            box.cut_power()
        assert {site.read(box, "/first") for box in site.boxes} == {"kept"}

    try:
        site.up(1)
        site.boxes[0].power_on()
        is_whole("one node", holds="")
        site.write(site.boxes[0], "/first", "kept")
        grow(2)
        grow(2)
        are_left(revoke(2))
        are_left(revoke(1))
        first, last = site.boxes[0], revoke(1)
        site.wait(lambda: roster_names(first) == [first.name], 60, "the roster names one")
        time.sleep(3 * LOOK_SECONDS)
        assert set(site.members(first)) == {first.name, last[0].name}, "a roster took the cluster apart"
        first.operate("remove", last[0].name)
        are_left(last)
        assert len(site.clusters_seen) == len(site.uids_seen) == 1
    finally:
        site.boxes += left
        site.down()
    return told
