"""Bundles as files: whole or not there, bounded in bytes, time and number, whatever the sources do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.core.errors import Rejected, Retryable
from edge_commander.diagnostics import bundle as bundles
from edge_commander.diagnostics import sources
from edge_commander.diagnostics.collect import Parts, collect
from edge_commander.diagnostics.held import Held
from edge_commander.diagnostics.held import read as held_read
from edge_commander.diagnostics.plan import NAME, Fetch, Item, Read, Run, describe, plan
from edge_commander.diagnostics.settings import DiagnosticsSettings
from edge_commander.distribution import children
from edge_commander.settings import CommanderSettings, DistributionSettings

ID = "0123456789abcdef" * 2


def settings(folder: Path, **more: Any) -> CommanderSettings:
    ours = DiagnosticsSettings(folder=str(folder / "keep"), **more)
    return CommanderSettings(keys_dir=str(folder / "ident"), diagnostics=ours)


def parts(*items: Item, **more: Any) -> Parts:
    return Parts(
        items=lambda own: list(items), held=more.pop("held", lambda own, state_dir: Held()), humble=lambda: None, **more
    )


def there(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def unpacked(folder: Path, name: str = ID) -> dict[str, bytes]:
    with tarfile.open(folder / "keep" / f"{name}.tar.gz") as tar:
        members = tar.getmembers()
        assert all(one.isreg() and one.name.startswith(f"{name}/") and ".." not in one.name for one in members)
        return {one.name.removeprefix(f"{name}/"): tar.extractfile(one).read() for one in members}  # type: ignore[union-attr]


def problems(found: dict[str, bytes]) -> dict[str, str]:
    return {one["name"]: one["problem"] for one in json.loads(found["contents.json"])["entries"]}


async def test_each_kind_of_source_and_what_fails_leaves_a_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("line one\npassword=hunter2\n")
    server = await asyncio.start_server(_http, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with socket.socket() as shut:
        shut.bind(("127.0.0.1", 0))
        items = [
            Item("a.txt", Run(("sh", "-c", "echo out; echo err >&2; exit 3"))),
            Item("b.txt", Read(str(tmp_path / "file"))),
            Item("c.txt", Fetch(port, "/healthz")),
            Item("d.txt", Run(("sh", "-c", "echo begun; exec sleep 600")), seconds=0.6),
            Item("e.txt", Run(("no-such-program",))),
            Item("f.txt", Read(str(tmp_path / "missing"))),
            Item("g.txt", Fetch(shut.getsockname()[1], "/x")),
            Item("h.txt", Run(("yes", "forever and ever")), bytes=4096),
        ]
        made = await collect(ID, settings(tmp_path), tmp_path, parts(*items))
    server.close()
    found = unpacked(tmp_path)
    assert found["a.txt"] == b"out\nerr\n" and found["b.txt"] == b"line one\npassword=[scrubbed]\n"
    assert b"200 OK" in found["c.txt"] and found["c.txt"].endswith(b"well\n")
    assert found["d.txt"] == b"begun\n" and 3000 < len(found["h.txt"]) <= 4096
    said = problems(found)
    assert said["a.txt"] == "ended with 3" and said["b.txt"] == said["c.txt"] == ""
    assert said["d.txt"].startswith("no end within 0.6") and "127" in said["e.txt"]
    assert "No such file" in said["f.txt"] and "refused" in said["g.txt"] and "ended after" in said["h.txt"]
    assert made["bytes"] == (tmp_path / "keep" / made["name"]).stat().st_size
    assert (there(tmp_path / "keep")) == [".lock", f"{ID}.tar.gz"]


async def test_a_program_whose_pipe_is_full_ends_at_once_when_it_is_killed() -> None:
    process = await children.start(
        ("yes", "and yes again"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None and await process.stdout.read(1)
    async with asyncio.timeout(30):
        while not process.stdout._paused:  # type: ignore[attr-defined]  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)
        await children.ended(process)
    assert process.returncode == -signal.SIGKILL


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\n\r\nwell\n")
    writer.close()


async def test_nothing_is_read_through_links_or_out_of_secret_files(tmp_path: Path) -> None:
    own = settings(tmp_path)
    ident = tmp_path / "ident"
    ident.mkdir()
    (ident / "device-keys.json").write_text(json.dumps({"signing": {"d": "topsecretvalue-of-the-node"}}))
    (ident / "state.json").symlink_to("device-keys.json")
    (ident / "hard.json").hardlink_to(ident / "device-keys.json")
    os.mkfifo(ident / "pipe")
    items = [
        Item(f"{n}.txt", Read(str(ident / name)), seconds=5.0)
        for n, name in enumerate(("state.json", "hard.json", "pipe", "device-keys.json", "."))
    ]
    await collect(ID, own, tmp_path, parts(*items, held=held_read))
    found = unpacked(tmp_path)
    assert all(found[f"{n}.txt"] == b"" for n in range(5))
    assert all(problems(found)[f"{n}.txt"] for n in range(5))
    (ident / "hard.json").unlink()  # alone now, and still a file of secrets
    await collect("f" * 32, own, tmp_path, parts(items[3], held=held_read))
    assert problems(unpacked(tmp_path, "f" * 32))["3.txt"] == "holds secrets"


async def test_a_folder_that_became_a_link_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "app.log").write_text("not the app's\n")
    (tmp_path / "app").symlink_to("elsewhere")
    await collect(ID, settings(tmp_path), tmp_path, parts(Item("a.txt", Read(str(tmp_path / "app" / "app.log")))))
    found = unpacked(tmp_path)
    assert found["a.txt"] == b"" and problems(found)["a.txt"] == "stands behind a link"


async def test_a_program_that_cannot_be_killed_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck: list[Any] = []

    async def never(process: Any) -> None:
        stuck.append(process)
        await asyncio.sleep(3600)

    monkeypatch.setattr(sources, "ended", never)
    monkeypatch.setattr(sources, "KILL_SECONDS", 0.1)
    items = [Item("a.txt", Run(("sleep", "30")), seconds=0.3), Item("b.txt", Fetch(1, "/"))]
    await collect(ID, settings(tmp_path), tmp_path, parts(*items))
    for process in stuck:
        process.kill()
        await process.wait()
    said = problems(unpacked(tmp_path))
    assert said["a.txt"] and said["b.txt"] == "Connection refused"


async def test_asked_again_it_is_the_same_bundle(tmp_path: Path) -> None:
    own = settings(tmp_path)
    first = await collect(ID, own, tmp_path, parts(Item("a.txt", Run(("date", "+%N")))))
    assert await collect(ID, own, tmp_path, parts(Item("a.txt", Run(("date", "+%N"))))) == first


async def test_the_oldest_go_by_number_and_by_bytes(tmp_path: Path) -> None:
    own = settings(tmp_path, keep=3, bundle_bytes=1024 * 1024)
    for n in range(5):
        await collect(f"{n:032x}", own, tmp_path, parts(Item("a.txt", Run(("echo", "x"))), wall=lambda n=n: 1000.0 + n))
        os.utime(tmp_path / "keep" / f"{n:032x}.tar.gz", (1000 + n, 1000 + n))
    names = [one.name[31] for one in bundles.stored(tmp_path / "keep")]
    assert names == ["4", "3", "2"]
    own = settings(tmp_path, keep=50, keep_bytes=1024 * 1024, bundle_bytes=1024 * 1024)
    await collect("a" * 32, own, tmp_path, parts(Item("a.txt", Run(("echo", "x")))))
    assert [one.name[0] for one in bundles.stored(tmp_path / "keep")] == ["a"]


async def test_a_bundle_has_its_bounds_in_bytes_and_in_time(tmp_path: Path) -> None:
    noise = ("head", "-c", "120000", "/dev/urandom")
    items = [
        Item(f"{n}.txt", Run(("sh", "-c", f"{' '.join(noise)} | od -An -tx1 -w400")), bytes=1 << 20) for n in range(12)
    ]
    made = await collect(ID, settings(tmp_path, bundle_bytes=1024 * 1024), tmp_path, parts(*items))
    assert made["bytes"] <= 1024 * 1024
    said = problems(unpacked(tmp_path))
    assert "too large" in said["11.txt"] and "too large" not in said["0.txt"]
    clock = iter(range(0, 1000, 10))
    ticking = parts(*items[:8], monotonic=lambda: float(next(clock)))
    await collect("b" * 32, settings(tmp_path, collect_seconds=45.0), tmp_path, ticking)
    said = problems(unpacked(tmp_path, "b" * 32))
    assert said["7.txt"] == "not collected: the time was over"


async def test_a_full_disk_is_refused_with_the_reason_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = settings(tmp_path)
    await collect("a" * 32, own, tmp_path, parts(Item("a.txt", Run(("echo", "x")))))
    monkeypatch.setattr(bundles.shutil, "disk_usage", lambda folder: type("U", (), {"free": 80 << 20})())
    with pytest.raises(Rejected, match="80 MiB are free, a bundle needs 9"):
        await collect(ID, own, tmp_path, parts(Item("a.txt", Run(("echo", "x")))))
    assert (there(tmp_path / "keep")) == [".lock", f"{'a' * 32}.tar.gz"]


@pytest.fixture
def little_disk(tmp_path: Path) -> Any:
    """A file system of 8 MiB in memory."""
    place = tmp_path / "keep"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half(
    little_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles.shutil, "disk_usage", lambda folder: type("U", (), {"free": 1 << 40})())
    noise = Item("a.txt", Run(("sh", "-c", "yes 'some words of a log' | head -c 10000000")), 200.0, 40 << 20)
    with pytest.raises(Rejected, match="No space left"):
        await collect(ID, settings(tmp_path), tmp_path, parts(noise))
    assert there(little_disk) == [".lock"]
    assert os.statvfs(little_disk).f_bfree * 4096 > 7 << 20  # what waited to be packed gave its room back
    ballast = little_disk / "ballast"
    ballast.write_bytes(b"x" * ((8 << 20) - 100_000))
    packed = Item("a.txt", Run(("sh", "-c", "head -c 200000 /dev/urandom | od -An -tx1 -w400")), 60.0, 1 << 20)
    with pytest.raises(Rejected, match="No space left"):
        await collect(ID, settings(tmp_path), tmp_path, parts(packed))
    assert (there(little_disk)) == [".lock", "ballast"]


async def test_what_a_power_cut_left_half_made_goes(tmp_path: Path) -> None:
    own = settings(tmp_path)
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / f".{ID}.tar.gz.part").write_bytes(b"half")
    await collect("c" * 32, own, tmp_path, parts(Item("a.txt", Run(("echo", "x")))))
    assert (there(tmp_path / "keep")) == [".lock", f"{'c' * 32}.tar.gz"]


@pytest.mark.parametrize("name", ["", "../x", "a" * 31, "A" * 32, "by-hand-1"])
async def test_only_our_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(Rejected, match="no bundle's name"):
        await collect(name, settings(tmp_path), tmp_path, parts())


async def test_two_at_once_wait_for_each_other(tmp_path: Path) -> None:
    own = settings(tmp_path)
    slow = parts(Item("a.txt", Run(("sleep", "0.5"))))
    found: list[Any] = []

    def other() -> None:
        found.append(asyncio.run(collect(ID, own, tmp_path, slow)))

    thread = threading.Thread(target=other)
    thread.start()
    found.append(await collect(ID, own, tmp_path, slow))
    await asyncio.to_thread(thread.join)
    assert found[0] == found[1]


def test_one_that_is_being_made_for_ever_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_commander.diagnostics import collect as module

    (tmp_path / "keep").mkdir()
    with module._alone(tmp_path / "keep", 0.0), pytest.raises(Retryable), module._alone(tmp_path / "keep", 0.0):
        pass


@pytest.mark.parametrize("kind", ["existing", "k3s", "kubeadm"])
def test_the_plan_is_bounded_names_are_ours_and_no_file_of_secrets_is_in_it(kind: Any) -> None:
    own = msgspec.structs.replace(CommanderSettings(), distribution=DistributionSettings(kind=kind))
    items = plan(own)
    assert len({one.name for one in items}) == len(items) > 30
    assert all(NAME.fullmatch(one.name) and ".." not in one.name for one in items)
    assert all(0 < one.bytes <= 4 << 20 and 0 < one.seconds <= 20 for one in items)
    read = [one.source.path for one in items if isinstance(one.source, Read)]
    assert not [path for path in read if "key" in path or "secret" in path or "token" in path or path.endswith(".conf")]
    words = "\n".join(describe(own, items))
    assert all(one.name in words for one in items) and "Secrets are taken out" in words
    units = {"k3s": "-u k3s", "kubeadm": "-u kubelet", "existing": "-u galley-vessel"}
    assert units[kind] in words
