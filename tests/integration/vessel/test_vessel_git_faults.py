"""The Atlas' clone after damage, kills, silent servers; and that nothing leaks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from agents.core.errors import Rejected, Retryable
from tests.site_in_a_box.atlas_clone import MANIFEST, Serve, atlas, files
from tests.site_in_a_box.gitrepos import GitRepo
from tests.site_in_a_box.gitserver import GitServer
from vessel.git.clone import CloneBounds


@pytest.mark.parametrize("damage", ["pack", "head", "config", "truncated"])
async def test_a_damaged_clone_is_set_aside_and_made_anew(tmp_path: Path, origin: GitRepo, damage: str) -> None:
    revision = origin.head()
    repository = atlas(tmp_path, origin.url)
    await repository.fetch(revision)
    clone = tmp_path / "state/clone.git"
    pack = next(clone.glob("objects/pack/*.pack"))
    pack.chmod(0o600)
    match damage:
        case "pack":
            pack.write_bytes(os.urandom(pack.stat().st_size))
        case "truncated":
            pack.write_bytes(pack.read_bytes()[: pack.stat().st_size // 2])
        case "head":
            (clone / "HEAD").write_bytes(b"\0" * 23)
        case "config":
            (clone / "config").write_bytes(b"[core\0\0\0")
    again = atlas(tmp_path, origin.url)
    with pytest.raises(Retryable, match="set aside"):
        await again.checkout(revision)
    assert len(again.take_quarantined()) == 1 and again.take_quarantined() == []
    assert (tmp_path / "state/clone.corrupt-1").is_dir()
    await again.fetch(revision)
    assert files(await again.checkout(revision))


async def test_leftovers_of_a_killed_predecessor(tmp_path: Path, origin: GitRepo) -> None:
    repository = atlas(tmp_path, origin.url)
    await repository.fetch(origin.head())
    clone = tmp_path / "state/clone.git"
    for name in ("shallow.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "objects/pack/tmp_pack_x"):
        (clone / name).write_bytes(b"")
    (tmp_path / "state/trees/.incoming-abc").mkdir()
    second = origin.commit({"c.yaml": MANIFEST})
    again = atlas(tmp_path, origin.url)
    await again.fetch(second)
    assert "c.yaml" in files(await again.checkout(second))
    assert not list(clone.rglob("*.lock")) and not list((tmp_path / "state/trees").glob(".*"))


async def test_killed_at_any_moment_the_next_start_converges(tmp_path: Path, origin: GitRepo) -> None:
    script = (
        "import asyncio,sys;from pathlib import Path;from vessel.git.remote import Remote;"
        "from vessel.git.repository import AtlasRepository as A\n"
        "async def main():\n"
        "    r=A(Path(sys.argv[1]),Remote(sys.argv[2]));v=await r.poll();await r.fetch(v);await r.checkout(v,[v])\n"
        "asyncio.run(main())"
    )
    for step in range(12):
        revision = origin.commit({f"{number}.yaml": f"# {step}\n" for number in range(40)})
        command = [sys.executable, "-c", script, str(tmp_path / "state"), origin.url]
        await asyncio.to_thread(_run_and_kill, command, 0.15 + 0.03 * step)
        repository = atlas(tmp_path, origin.url)
        assert await repository.poll() == revision
        await repository.fetch(revision)
        tree = await repository.checkout(revision, keep=[revision])
        assert files(tree)["7.yaml"] == f"# {step}\n".encode() and len(files(tree)) == 42


def _run_and_kill(command: list[str], seconds: float) -> None:
    child = subprocess.Popen(command, start_new_session=True)
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


async def test_a_silent_server_is_given_up(tmp_path: Path) -> None:
    async def silent(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with Serve(silent) as base:
        before = _children()
        repository = atlas(tmp_path, f"{base}/x.git", bounds=CloneBounds(poll_seconds=1.0))
        with pytest.raises(Retryable, match="did not end in time"):
            await repository.poll()
        assert _children() <= before
        task = asyncio.create_task(atlas(tmp_path, f"{base}/x.git").poll())
        await asyncio.sleep(0.5)
        assert _children() - before, "git never ran"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        assert _children() <= before


async def test_an_endless_answer_is_cut(tmp_path: Path) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        kind = "application/x-git-upload-pack-advertisement"
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        await response.write(b"001e# service=git-upload-pack\n0000")
        line = b"%s refs/heads/%s" % (b"1" * 40, b"x" * 900)
        packet = b"%04x%s\n" % (len(line) + 5, line)
        for _ in range(200_000):
            await response.write(packet * 10)
        return response

    async with Serve(endless) as base:
        before = _children()
        repository = atlas(tmp_path, f"{base}/x.git", bounds=CloneBounds(poll_seconds=20))
        with pytest.raises((Retryable, Rejected)):
            await repository.poll()
        assert _children() <= before


async def test_variables_of_the_caller_steer_nothing(
    tmp_path: Path, origin: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "evil"))
    (tmp_path / "evil").write_text(f"[core]\n\thooksPath = {tmp_path}\n[alias]\n\tls-remote = !false\n")
    repository = atlas(tmp_path, origin.url)
    await repository.fetch(await repository.poll())
    assert not (tmp_path / "trace").exists()


async def test_git_missing(tmp_path: Path) -> None:
    script = "import sys;from pathlib import Path;from vessel.git.runner import GitRunner;GitRunner(Path(sys.argv[1]))"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, str(tmp_path)], env={"PATH": "/nonexistent"}, capture_output=True
    )
    assert b"git was not found on PATH: install git" in done.stderr


async def test_300_polls_leak_nothing(tmp_path: Path, origin: GitRepo, server: GitServer) -> None:
    repository = atlas(tmp_path, server.url(origin.bare.name))
    here, before = psutil.Process(), _children()
    await repository.checkout((await repository.fetch(await repository.poll())).revision)
    for _ in range(40):
        await repository.poll()
    descriptors, memory, threads = here.num_fds(), here.memory_info().rss, here.num_threads()
    for number in range(260):
        revision = await repository.poll()
        if number % 20 == 0:
            await repository.fetch(revision)
            await repository.checkout(revision, keep=[revision])
    assert here.num_fds() <= descriptors + 4
    assert here.num_threads() <= threads + 4
    assert here.memory_info().rss - memory < 8 * 1024 * 1024
    assert _children() <= before


def _children() -> set[psutil.Process]:
    """What this process has started; servers that other tests share are among it."""
    return set(psutil.Process().children(recursive=True))
