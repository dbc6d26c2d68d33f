"""`make demo`: sets two restaurants up on this machine, shows a page of them, and plays a short story.

`--no-story` only runs. Ctrl-C stops all of it and leaves no process; the caches stay.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import AsyncExitStack
from pathlib import Path

from tests.site_in_a_box import kube_build, samples
from tests.site_in_a_box.demo import story
from tests.site_in_a_box.demo.cluster import check_cluster, print_clean_up
from tests.site_in_a_box.demo.screen import bad, note, say, step, title
from tests.site_in_a_box.endpoint import Endpoint
from tests.site_in_a_box.restaurant import Restaurant, RestaurantPlan
from tests.site_in_a_box.town import Town

INTERVAL = 2.0


def plans(kubeconfig: Path | None, sample_folder: Path | None) -> list[RestaurantPlan]:
    """Two restaurants of three nodes; on an existing cluster, one."""
    first = RestaurantPlan(
        "store-00001",
        labels={"provider": "northline", "region": "harbour", "ring": "canary", "owner": "franchise-7"},
        kubeconfig=kubeconfig,
        samples=sample_folder,
    )
    second = RestaurantPlan(
        "store-00002", labels={"provider": "citycable", "region": "old-town", "ring": "broad", "owner": "company"}
    )
    return [first] if kubeconfig else [first, second]


async def set_up(town: Town) -> None:
    """The steps of the set-up, each with its expected time."""
    with step("Kubernetes programs (built once, then cached)", 1 if kube_build.ready() else 780):
        await asyncio.to_thread(kube_build.ensure)
    with step("Git repositories of the restaurants", 1):
        await asyncio.to_thread(town.found)
    own = all(plan.kubeconfig is None for plan in town.plans)
    clusters = "A Kubernetes control plane a restaurant, its nodes played by KWOK" if own else "What Vessel needs there"
    with step(clusters, 12 if own else 3):
        await town.start_clusters()
    with step("Git server and MQTT broker", 1):
        await town.start_servers()
    with step("Cloud endpoint", 4):
        await town.start_endpoint()
        await town.register()
    with step("The daemons of each node, every one a process of its own", 3):
        await town.start_nodes()
    with step("Nodes enrol and beat", 12):
        for one in town.restaurants:
            await town.wait_beats(one)
    with step("Vessel applies each restaurant's Atlas and waits until it is healthy", 10):
        await asyncio.gather(*(town.wait_healthy(one) for one in town.restaurants))
    with step("Synthetic clients use Kubernetes, cloud, MQTT and HTTP", 5):
        await asyncio.gather(*(town.wait_synthetic(one) for one in town.restaurants))


async def print_link(town: Town) -> None:
    """A fresh one-time link to the page."""
    say(f"\nThe page (one-time link, 60 s; press Enter for a new one):\n  {await town.login_link()}")
    note("the certificate is this demo's own: the browser asks once")


def print_looks(town: Town) -> None:
    """How to look at the fleet by `galley`, and at each site by kubectl."""
    title("Ask the endpoint, as the operator of this demo")
    for question in galley_questions(town.endpoint, town.folder / "galley.yaml", town.restaurants[0].site):
        say(f"  {question}")
    title("Look at the clusters")
    for one in town.restaurants:
        say(f"  {town.kubectl} --kubeconfig {one.admin_kubeconfig} get pods -A    # {one.site}")
    say(f"  logs of every daemon: {town.folder}/nodes/*/log, {town.folder}/cloud/endpoint.log")


def taken(source: Path) -> str:
    """`podinfo (podinfo/kustomize), ...`: which samples, and where they lie below `source`."""
    return ", ".join(f"{name} ({path.relative_to(source)})" for name, path in samples.apps(source).items())


def galley_questions(endpoint: Endpoint, profile: Path, site: str) -> list[str]:
    """Command lines of `galley`, from the repository's root, and the profile that they name, which is written here."""
    endpoint.write_profile(profile)
    return [
        f".venv/bin/galley --profile {profile} {words}" for words in ("site list", "device list", f"site verify {site}")
    ]


def keys(loop: asyncio.AbstractEventLoop, wanted: asyncio.Event) -> None:
    """A thread that turns each Enter into the wish for a new link."""

    def read() -> None:
        for _ in sys.stdin:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the demo ended
                loop.call_soon_threadsafe(wanted.set)

    if sys.stdin is not None and sys.stdin.isatty():
        threading.Thread(target=read, daemon=True).start()


async def serve_links(town: Town) -> None:
    """Prints a new link at each Enter, for ever."""
    wanted = asyncio.Event()
    keys(asyncio.get_running_loop(), wanted)
    while True:
        await wanted.wait()
        wanted.clear()
        await print_link(town)


async def play(town: Town, options: argparse.Namespace) -> bool:
    """Set-up, page, story; then runs until it is stopped. True when all that was to happen did."""
    began = time.monotonic()
    await set_up(town)
    say(f"\nup in {time.monotonic() - began:.0f} s: {nodes_of(town.restaurants)}")
    await print_link(town)
    print_looks(town)
    links = asyncio.create_task(serve_links(town))
    try:
        well = True if options.no_story else await story.tell(town)
        if options.exit:
            return well
        say("\nEverything keeps running. Ctrl-C stops all of it.")
        await asyncio.Event().wait()
        return well
    finally:
        links.cancel()


def nodes_of(restaurants: list[Restaurant]) -> str:
    """`store-00001 (3 nodes), store-00002 (3 nodes)`."""
    return ", ".join(f"{one.site} ({len(one.nodes)} nodes)" for one in restaurants)


def causes(error: BaseException) -> list[str]:
    """The texts of an error; of a group, those of its members."""
    if isinstance(error, BaseExceptionGroup):
        return [text for one in error.exceptions for text in causes(one)]
    return [str(error) or type(error).__name__]


async def main(options: argparse.Namespace) -> int:
    """Runs the demo in a folder of its own, and removes that at the end."""
    try:
        kubeconfig, folder_of_samples = options.kubeconfig, samples.folder()
        if kubeconfig is not None:
            await check_cluster(kubeconfig)
        if folder_of_samples is not None:
            say(f"samples from {folder_of_samples}, as apps of the first restaurant: {taken(folder_of_samples)}")
    except (OSError, RuntimeError) as error:
        bad(str(error))
        return 1
    folder = Path(tempfile.mkdtemp(prefix="galley-demo-"))
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        async with AsyncExitStack() as stack:
            stack.callback(say, "everything is stopped")
            town = Town(folder, plans(kubeconfig, folder_of_samples), interval=INTERVAL, stack=stack)
            town.pictures = options.pictures
            return 0 if await play(town, options) else 1
    except asyncio.CancelledError:
        return 0
    except Exception as error:  # whatever it was, a person is to read it
        for cause in causes(error):
            bad(cause)
        if options.keep:
            note(f"logs are in {folder}")
        return 1
    finally:
        if kubeconfig is not None:
            print_clean_up(kubeconfig)
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--no-story", action="store_true", help="only run")
    parser.add_argument("--exit", action="store_true", help="stop after the story; the status says whether it held")
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="one site, on this existing cluster")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="pictures of the page, by headless Chromium")
    logging.basicConfig(level=logging.WARNING)
    sys.exit(asyncio.run(main(parser.parse_args())))
