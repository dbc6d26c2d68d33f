"""The root half pulls from a real registry into a real containerd: within the bandwidth, resumed, or nothing at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.core.errors import Rejected, Retryable
from tests.site_in_a_box.image_line import HOST, PLAIN, PRIVATE, ImageLine

MIB = 1 << 20


@pytest.fixture(scope="module")
def line() -> Iterator[ImageLine]:
    folder = Path(tempfile.mkdtemp(prefix="galley-line-"))
    with ImageLine(folder) as made:
        yield made
    shutil.rmtree(folder)


def command_lines() -> str:
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(one.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


async def until(probe: Callable[[], bool]) -> None:
    while not probe():  # noqa: ASYNC110 - the kernel's counter tells nobody
        await asyncio.sleep(0.02)


async def test_the_bandwidth_is_held_and_kubelet_would_find_the_image(line: ImageLine) -> None:
    size, rate = 3 * MIB, MIB
    line.publish("held", "1", [os.urandom(size // 3)] * 1 + [os.urandom(size // 3) for _ in range(2)])
    name, before, began = line.name("held"), line.sent(), time.monotonic()
    async with line.root_half(bytes_per_second=rate) as apart:
        assert name not in await apart.images()
        pulling = asyncio.create_task(apart.pull(name))
        await until(lambda: line.sent() - before > size // 2)
        told = command_lines()
        assert name in told and "galley:" not in told, "the proxy's password is no argument"
        done, fetched = await pulling
        assert done and name in await apart.images()
    spent = time.monotonic() - began
    assert 0.98 * size < fetched < 1.05 * size
    assert line.sent() - before < 1.1 * size
    assert fetched / spent < 1.1 * rate, "what a pause allows at once is a quarter of a second's"
    # The CRI plugin, which kubelet asks, has taken it up.
    assert f"{name} " in line.ctr("images", "ls", 'labels."io.cri-containerd.image"==managed').stdout
    assert "@127.0.0.1" not in (line.folder / "runner.log").read_text()
    async with line.root_half() as apart:
        before = line.sent()
        assert await apart.pull(name) == (True, 0)
        assert line.sent() == before, "what is here costs nothing"


@pytest.mark.parametrize("fault", ["killed", "line", "registry"])
async def test_what_came_before_a_cut_is_not_fetched_again(line: ImageLine, fault: str) -> None:
    size = 16 * MIB
    line.publish(fault, "1", [os.urandom(MIB // 4), os.urandom(size)])
    name, before = line.name(fault), line.sent()
    async with line.root_half(bytes_per_second=4 * MIB, pull_seconds=3 if fault == "line" else 30) as apart:
        pulling = asyncio.create_task(apart.pull(name))
        await until(lambda: line.sent() - before > size // 2)
        if fault == "killed":
            line.doorman.kill()
            with pytest.raises(Retryable, match="without an answer"):
                await pulling
        elif fault == "line":
            line.cut(True)
            assert (await pulling)[0] is False, "its time is over"
            line.cut(False)
        else:
            line.registries["tls"].kill()
            with pytest.raises(Retryable):
                await pulling
            line.start_registry()
        assert name not in await apart.images()
        done = False
        while not done:
            done, _ = await apart.pull(name)
    assert line.sent() - before < 1.1 * size, "in all"


async def test_a_damaged_layer_is_refused_and_does_not_stay_in_the_way(line: ImageLine) -> None:
    layer = line.publish("damaged", "1", [os.urandom(MIB)])[0]
    name, blob = line.name("damaged"), line.blob(layer)
    good = blob.read_bytes()
    blob.write_bytes(good[:5000] + bytes([good[5000] ^ 1]) + good[5001:])
    async with line.root_half() as apart:
        with pytest.raises(Retryable, match="what came is not what its digest says"):
            await apart.pull(name)
        assert name not in await apart.images()
        blob.write_bytes(good)
        assert (await apart.pull(name))[0]


async def test_what_cannot_be_had_is_said(line: ImageLine) -> None:
    line.publish("plain", "1", [os.urandom(1000)])
    async with line.root_half() as apart:
        with pytest.raises(Rejected, match="the registry has no such image"):
            await apart.pull(f"{PLAIN}/plain:2")
        with pytest.raises(Rejected, match="needs a pull secret"):
            await apart.pull(f"{PRIVATE}/plain:1")
        with pytest.raises(Rejected, match="takes an image's whole name"):
            await apart.pull("--all-platforms")
        with pytest.raises(Retryable):
            await apart.pull(f"{HOST[:-1]}9/plain:1")  # nobody there
        assert (await apart.pull(f"{PLAIN}/plain:1"))[0], "plain HTTP goes through the proxy's other form"


async def test_a_disk_that_gets_short_ends_the_pull_and_keeps_nothing_of_it(line: ImageLine) -> None:
    line.publish("short", "1", [os.urandom(8 * MIB)])
    name, free = line.name("short"), line.folder / "disk"
    free.mkdir()
    with small_disk(free, 8 * MIB):
        before = line.sent()
        async with line.root_half(bytes_per_second=2 * MIB, containerd_dir=str(free), free_percent=50) as apart:
            pulling = asyncio.create_task(apart.pull(name))
            await until(lambda: line.sent() - before > 2 * MIB)
            (free / "others").write_bytes(bytes(5 * MIB))
            with pytest.raises(Rejected, match=r"the disk is short: .* while 50 % of it are free"):
                await pulling
            asked = line.sent()
            with pytest.raises(Rejected, match="the disk is short"):
                await apart.pull(name)
            assert line.sent() == asked, "nothing is begun"
            assert name not in await apart.images()
    assert line.ctr("content", "active").stdout.count("\n") < 2, "what came is gone again"


async def test_a_full_disk_leaves_no_half_image_and_the_next_try_goes_on() -> None:
    folder = Path(tempfile.mkdtemp(prefix="galley-full-"))
    try:
        with ImageLine(folder, disk_bytes=12 * MIB) as full:
            full.publish("big", "1", [os.urandom(8 * MIB)])
            name = full.name("big")
            async with full.root_half(free_percent=0, bytes_per_second=16 * MIB) as apart:
                with pytest.raises(Rejected, match="the disk is full"):
                    await apart.pull(name)
                assert name not in await apart.images()
                full.resize(64 * MIB)
                assert (await apart.pull(name))[0] and name in await apart.images()
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A file system of that size at a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
