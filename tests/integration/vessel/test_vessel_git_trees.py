"""What a commit's tree may hold, and what is refused: links, submodules, filters, names, sizes."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from agents.core.errors import Rejected
from tests.site_in_a_box.atlas_clone import atlas, files
from tests.site_in_a_box.gitrepos import GitRepo
from vessel.git.clone import CloneBounds
from vessel.git.export import ExportBounds


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
