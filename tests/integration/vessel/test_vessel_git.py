"""AtlasRepository against real repositories, over file:// and over git http-backend on loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from agents.contracts.identity import GitCredential
from agents.core.errors import Rejected, Retryable
from tests.site_in_a_box.gitrepos import GitRepo
from tests.site_in_a_box.gitserver import GitServer
from vessel.git.clone import CloneBounds
from vessel.git.export import ExportBounds
from vessel.git.remote import Remote
from vessel.git.repository import AtlasRepository, credential_from_file

MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


@pytest.fixture
def origin(tmp_path: Path) -> GitRepo:
    folder = tmp_path / "origin"
    folder.mkdir()
    repo = GitRepo(folder)
    repo.commit({"a.yaml": MANIFEST, "deep/er/b.yaml": MANIFEST}, "first <script>alert(1)</script>")
    return repo


@pytest.fixture
async def server(origin: GitRepo) -> AsyncIterator[GitServer]:
    async with GitServer.start(origin.bare.parent) as running:
        yield running


def atlas(tmp_path: Path, url: str, branch: str = "main", **options: object) -> AtlasRepository:
    remote = Remote(url, branch, ca_file=str(options.pop("ca_file", "")))
    return AtlasRepository(tmp_path / "state", remote, **options)  # type: ignore[arg-type]


def files(tree: Path) -> dict[str, bytes]:
    return {str(p.relative_to(tree)): p.read_bytes() for p in sorted(tree.rglob("*")) if p.is_file()}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("how", ["file", "http"])
async def test_poll_fetch_checkout(tmp_path: Path, origin: GitRepo, server: GitServer, how: str) -> None:
    repository = atlas(tmp_path, origin.url if how == "file" else server.url(origin.bare.name))
    revision = await repository.poll()
    assert revision == origin.head()
    commit = await repository.fetch(revision)
    assert commit.revision == revision
    assert commit.subject == "first <script>alert(1)</script>"
    assert commit.author == "Pat <pat@example.org>"
    assert commit.time > 1_700_000_000
    tree = await repository.checkout(revision)
    assert files(tree) == {"a.yaml": MANIFEST.encode(), "deep/er/b.yaml": MANIFEST.encode()}
    second = origin.commit({"a.yaml": MANIFEST + "data: {x: y}\n"}, "second")
    assert await repository.poll() == second
    await repository.fetch(second)
    assert b"x: y" in files(await repository.checkout(second))["a.yaml"]


async def test_an_unchanged_poll_is_two_requests_and_no_write(
    tmp_path: Path, origin: GitRepo, server: GitServer
) -> None:
    for number in range(50):
        origin.git("branch", f"other-{number}")
    origin.git("push", "--quiet", "--all", "origin")
    repository = atlas(tmp_path, server.url(origin.bare.name))
    await repository.checkout((await repository.fetch(await repository.poll())).revision)
    before, seen = snapshot(tmp_path / "state"), len(server.requests)
    await repository.poll()
    asked = server.requests[seen:]
    assert [(r.method, r.status, r.protocol) for r in asked] == [("GET", 200, "version=2"), ("POST", 200, "version=2")]
    assert snapshot(tmp_path / "state") == before


async def test_offline_after_a_restart_the_last_revisions_are_there(
    tmp_path: Path, origin: GitRepo, server: GitServer
) -> None:
    first = origin.head()
    repository = atlas(tmp_path, server.url(origin.bare.name))
    await repository.fetch(first)
    await repository.checkout(first)
    await server.cut()
    again = atlas(tmp_path, server.url(origin.bare.name))
    with pytest.raises(Retryable, match="cannot be reached"):
        await again.poll()
    assert await again.revisions() == [first]
    shutil.rmtree(tmp_path / "state" / "trees" / first)
    assert set(files(await again.checkout(first))) == {"a.yaml", "deep/er/b.yaml"}
    assert (await again.commit(first)).revision == first
    await server.mend()
    assert await again.poll() == first


async def test_history_rewritten_is_followed(tmp_path: Path, origin: GitRepo) -> None:
    repository = atlas(tmp_path, origin.url)
    await repository.fetch(await repository.poll())
    origin.git("commit", "--quiet", "--amend", "-m", "another first")
    rewritten = origin.push()
    assert await repository.poll() == rewritten
    assert (await repository.fetch(rewritten)).subject == "another first"


async def test_keep_removes_all_other_revisions(tmp_path: Path, origin: GitRepo) -> None:
    repository = atlas(tmp_path, origin.url)
    revisions = []
    for number in range(16):
        revision = origin.commit({"n.yaml": f"# {number}\n"})
        await repository.fetch(revision)
        revisions.append(revision)
        await repository.checkout(revision, keep=[revisions[0]])
    assert await repository.revisions() == sorted({revisions[0], revisions[-1]})
    assert len(list((tmp_path / "state/clone.git/objects/pack").glob("*.pack"))) <= 13
    shutil.rmtree(tmp_path / "state/trees")
    again = atlas(tmp_path, origin.url)
    assert b"# 0" in files(await again.checkout(revisions[0]))["n.yaml"]


# --- bad input -------------------------------------------------------------------------------------------------


async def test_a_branch_that_vanished(tmp_path: Path, origin: GitRepo, server: GitServer) -> None:
    repository = atlas(tmp_path, server.url(origin.bare.name))
    revision = await repository.poll()
    await repository.fetch(revision)
    origin.git("push", "--quiet", "origin", "HEAD:refs/heads/other")
    origin.git("-C", str(origin.bare), "update-ref", "-d", "refs/heads/main")
    with pytest.raises(Rejected, match=r"at http://127.0.0.1:\d+/store-01234.git has no branch 'main'"):
        await repository.poll()
    assert await repository.checkout(revision)


async def test_an_empty_repository(tmp_path: Path) -> None:
    empty = GitRepo(tmp_path)
    with pytest.raises(Rejected, match="is an empty repository"):
        await atlas(tmp_path, empty.url).poll()


async def test_a_repository_that_is_none(tmp_path: Path, server: GitServer) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(Rejected, match="is no Git repository"):
        await atlas(tmp_path, f"file://{tmp_path}/plain").poll()
    with pytest.raises(Rejected, match="there is no such repository"):
        await atlas(tmp_path, server.url("nothing.git")).poll()


async def test_a_commit_that_is_not_there(tmp_path: Path, origin: GitRepo) -> None:
    with pytest.raises(Retryable, match="no longer has the commit"):
        await atlas(tmp_path, origin.url).fetch("1" * 40)


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("ssh://git@example.org/a.git", "must begin with"),
        ("http://example.org/a.git", "plain http is refused"),
        ("https://user:pw@example.org/a.git", "holds a credential"),
        ("ext::sh -c id", "must begin with"),
        ("--upload-pack=id", "must begin with"),
        ("file://host/path", "must be file:///path"),
        ("https:///a.git", "names no host"),
    ],
)
def test_addresses_that_are_refused(url: str, cause: str) -> None:
    with pytest.raises(Rejected, match=cause) as caught:
        Remote(url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("branch", ["", "-x", "a..b", "a b", "a//b", "refs/heads/\n", "a/.b", "x@{1}"])
def test_branches_that_are_refused(branch: str) -> None:
    with pytest.raises(Rejected, match="is not a branch's name"):
        Remote("https://example.org/a.git", branch)


@pytest.mark.parametrize("revision", ["", "main", "../../etc", "a" * 39, "A" * 40, "--output=x"])
async def test_revisions_that_are_refused(tmp_path: Path, origin: GitRepo, revision: str) -> None:
    repository = atlas(tmp_path, origin.url)
    for call in (repository.fetch, repository.checkout, repository.commit):
        with pytest.raises(Rejected, match="is not a commit id"):
            await call(revision)


async def test_a_login_is_needed_and_never_shown(tmp_path: Path, origin: GitRepo) -> None:
    secret = "s3cret-p4ssword"
    (tmp_path / "credential").write_text(f"store:{secret}\n")
    (tmp_path / "wrong").write_text("store:another\n")
    async with GitServer.start(origin.bare.parent, users={"store": secret}) as server:
        host = f"127.0.0.1:{server.port}"
        url = server.url(origin.bare.name)
        with pytest.raises(Rejected, match="credential is missing or refused"):
            await atlas(tmp_path, url).poll()
        wrong = credential_from_file(tmp_path / "wrong", host)
        with pytest.raises(Rejected, match="credential is missing or refused") as caught:
            await atlas(tmp_path, url, credential=wrong).poll()
        assert "another" not in str(caught.value)
        right = atlas(tmp_path, url, credential=credential_from_file(tmp_path / "credential", host))
        seen = len(server.requests)
        revision = await right.poll()
        assert [r.status for r in server.requests[seen:]] == [200, 200]  # sent at once, without being asked
        await right.fetch(revision)
        assert await right.checkout(revision)
        assert secret not in repr(right)
    for path in (tmp_path / "state").rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()


async def test_the_credential_is_in_no_argument(tmp_path: Path) -> None:
    secret, seen = "s3cret-p4ssword", []

    async def slow(request: web.Request) -> web.Response:
        headers = request.headers.get("Authorization", "")
        for child in psutil.Process().children(recursive=True):
            seen.append((headers, " ".join(child.cmdline())))
        return web.Response(status=500)

    async with Serve(slow) as base:

        async def credential() -> GitCredential:
            return GitCredential(host=base.split("//")[1], username="u", password=secret, expires_in=1)

        with pytest.raises(Retryable):
            await atlas(tmp_path, f"{base}/x.git", credential=credential).poll()
    assert seen and all(header.startswith("Basic ") for header, _ in seen)
    code = seen[0][0].removeprefix("Basic ")
    assert all(secret not in line and code not in line for _, line in seen)


async def test_a_redirect_is_not_followed_and_gets_no_credential(tmp_path: Path, origin: GitRepo) -> None:
    async with GitServer.start(origin.bare.parent) as elsewhere:

        async def away(request: web.Request) -> web.Response:
            raise web.HTTPFound(elsewhere.url(origin.bare.name) + "/info/refs?service=git-upload-pack")

        async with Serve(away) as base:

            async def credential() -> GitCredential:
                return GitCredential(host=base.split("//")[1], username="u", password="p", expires_in=1)

            with pytest.raises(Rejected, match="redirect"):
                await atlas(tmp_path, f"{base}/x.git", credential=credential).poll()
        assert elsewhere.requests == []


async def test_a_credential_of_another_host_is_not_sent(tmp_path: Path, server: GitServer) -> None:
    async def credential() -> GitCredential:
        return GitCredential(host="git.example.org", username="u", password="p", expires_in=1)

    with pytest.raises(Rejected, match=r"credential is for 'git\.example\.org'"):
        await atlas(tmp_path, server.url("x.git"), credential=credential).poll()
    assert server.requests == []


async def test_a_credential_file_that_is_missing_or_empty(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="cannot be read: No such file"):
        await credential_from_file(tmp_path / "no", "h")()
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(Rejected, match="is empty"):
        await credential_from_file(tmp_path / "empty", "h")()
    (tmp_path / "token").write_text("abc\n")
    credential = await credential_from_file(tmp_path / "token", "h")()
    assert credential is not None and (credential.username, credential.password) == ("git", "abc")


async def test_tls_with_an_authority_of_its_own(tmp_path: Path, origin: GitRepo) -> None:
    cert, key = await asyncio.to_thread(_certificate, tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    async with GitServer.start(origin.bare.parent, tls=context) as server:
        url = server.url(origin.bare.name)
        assert await atlas(tmp_path, url, ca_file=str(cert)).poll() == origin.head()
        with pytest.raises(Retryable, match="certificate"):
            await atlas(tmp_path / "b", url).poll()


def _certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command = ["openssl", "req", "-x509", *made, *subject, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return cert, key


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../outside", "deep/../../x", ".git/config", "deep/er/../../../y"]
)
async def test_a_symlink_out_of_the_tree(tmp_path: Path, origin: GitRepo, target: str) -> None:
    (origin.work / "link").symlink_to(target)
    revision = origin.commit_all()
    repository = atlas(tmp_path, origin.url)
    await repository.fetch(revision)
    with pytest.raises(Rejected, match="link: is a symbolic link out of the repository"):
        await repository.checkout(revision)
    assert await repository.revisions() == []


async def test_a_symlink_inside_the_tree(tmp_path: Path, origin: GitRepo) -> None:
    (origin.work / "link.yaml").symlink_to("deep/er/b.yaml")
    revision = origin.commit_all()
    repository = atlas(tmp_path, origin.url)
    await repository.fetch(revision)
    tree = await repository.checkout(revision)
    assert (tree / "link.yaml").readlink() == Path("deep/er/b.yaml")


async def test_a_submodule(tmp_path: Path, origin: GitRepo) -> None:
    origin.git("update-index", "--add", "--cacheinfo", f"160000,{origin.head()},module")
    origin.git("commit", "--quiet", "-m", "module")
    revision = origin.push()
    repository = atlas(tmp_path, origin.url)
    await repository.fetch(revision)
    with pytest.raises(Rejected, match="module: is a submodule"):
        await repository.checkout(revision)


async def test_filters_attributes_and_hooks_do_nothing(tmp_path: Path, origin: GitRepo) -> None:
    attributes = "*.yaml filter=lfs diff=lfs merge=lfs -text eol=crlf ident export-subst\nb.yaml export-ignore\n"
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n$Id$ $Format:%H$\n"
    origin.commit({".gitattributes": attributes, "b.yaml": pointer, ".gitmodules": "x"})
    repository = atlas(tmp_path, origin.url)
    revision = await repository.poll()
    await repository.fetch(revision)
    assert files(await repository.checkout(revision))["b.yaml"] == pointer.encode()
    assert not any((tmp_path / "state/clone.git").glob("hooks/*"))


def _malicious(origin: GitRepo, *entries: tuple[str, str, str]) -> str:
    """A commit with a tree that git would not make: entries of (mode, name, blob id)."""
    listing = b"".join(
        mode.encode() + b" " + name.encode() + b"\0" + bytes.fromhex(blob) for mode, name, blob in entries
    )
    tree = origin.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=listing).strip()
    commit = origin.git("commit-tree", tree, "-m", "bad").strip()
    origin.git("reset", "--quiet", "--soft", commit)
    return origin.push()


@pytest.mark.parametrize("name", ["..", ".git", ".GIT", "a/b", "."])
async def test_trees_that_git_would_not_make(tmp_path: Path, origin: GitRepo, name: str) -> None:
    blob = origin.git("hash-object", "-w", "--stdin", stdin=b"x").strip()
    revision = _malicious(origin, ("100644", name, blob))
    repository = atlas(tmp_path, origin.url)
    with pytest.raises(Rejected):
        await repository.fetch(revision)
        await repository.checkout(revision)
    assert not any((tmp_path / "state/trees").iterdir())


async def test_a_name_with_control_characters(tmp_path: Path, origin: GitRepo) -> None:
    revision = origin.commit({"a\x1b[31m.yaml": "x"})
    repository = atlas(tmp_path, origin.url)
    await repository.fetch(revision)
    with pytest.raises(Rejected, match=r"a\\x1b\[31m.yaml: the name has control characters"):
        await repository.checkout(revision)


async def test_a_100_mb_file(tmp_path: Path, origin: GitRepo) -> None:
    revision = origin.commit({"zeros.yaml": bytes(100 * 1024 * 1024)})
    repository = atlas(tmp_path, origin.url)
    await repository.fetch(revision)
    before = psutil.Process().memory_info().rss
    with pytest.raises(Rejected, match=r"zeros\.yaml: has 104857600 bytes, more than the limit"):
        await repository.checkout(revision)
    assert psutil.Process().memory_info().rss - before < 20 * 1024 * 1024
    small = CloneBounds(fetch_bytes=1024 * 1024)
    noise = origin.commit({"zeros.yaml": None, "noise.bin": os.urandom(4 * 1024 * 1024)})
    with pytest.raises(Rejected, match="more than"):
        await atlas(tmp_path / "small", origin.url, bounds=small).fetch(noise)


async def test_too_many_files_and_bytes(tmp_path: Path, origin: GitRepo) -> None:
    repository = atlas(tmp_path, origin.url, bounds=CloneBounds(export=ExportBounds(files=1)))
    await repository.fetch(origin.head())
    with pytest.raises(Rejected, match="more than 1 files"):
        await repository.checkout(origin.head())
    repository = atlas(tmp_path, origin.url, bounds=CloneBounds(export=ExportBounds(total_bytes=60)))
    with pytest.raises(Rejected, match="in all"):
        await repository.checkout(origin.head())


# --- faults ----------------------------------------------------------------------------------------------------


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
        repository = atlas(tmp_path, f"{base}/x.git", bounds=CloneBounds(poll_seconds=1.0))
        with pytest.raises(Retryable, match="did not end in time"):
            await repository.poll()
        assert _children() == []
        task = asyncio.create_task(atlas(tmp_path, f"{base}/x.git").poll())
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        assert _children() == []


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
        repository = atlas(tmp_path, f"{base}/x.git", bounds=CloneBounds(poll_seconds=20))
        with pytest.raises((Retryable, Rejected)):
            await repository.poll()
        assert _children() == []


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
    here = psutil.Process()
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
    assert _children() == []


def _children() -> list[str]:
    return [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]


class Serve:
    """A server of one handler on loopback."""

    def __init__(self, handler: object) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handler)  # type: ignore[arg-type]
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
