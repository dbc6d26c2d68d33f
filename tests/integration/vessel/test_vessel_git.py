"""AtlasRepository against real repositories, over file:// and over git http-backend on loopback."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from agents.contracts.identity import GitCredential
from agents.core.errors import Rejected, Retryable
from tests.site_in_a_box.atlas_clone import MANIFEST, Serve, atlas, files, snapshot
from tests.site_in_a_box.gitrepos import GitRepo
from tests.site_in_a_box.gitserver import GitServer
from vessel.git.remote import Remote
from vessel.git.repository import credential_from_file


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
    with pytest.raises(Rejected, match=r"at http://127.0.0.1:\d+/\.\.\. has no branch 'main'"):
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


async def test_what_was_fetched_last_stays_although_the_caller_chose_before(tmp_path: Path, origin: GitRepo) -> None:
    """One task checks an old revision out and tidies, while another has just fetched a new one."""
    repository = atlas(tmp_path, origin.url)
    old = (await repository.fetch(await repository.poll())).revision
    new = origin.commit({"c.yaml": MANIFEST})
    await repository.fetch(await repository.poll())
    await repository.checkout(old, keep=[old])
    assert "c.yaml" in files(await repository.checkout(new))
