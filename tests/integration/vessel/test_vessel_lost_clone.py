"""A node whose clone lacks what is applied: it fetches that commit by its id, or says why it cannot."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from agents.contracts.identity import AtlasSource
from agents.io.state import StateFile
from tests.site_in_a_box.gitrepos import GitRepo
from tests.site_in_a_box.gitserver import GitServer
from vessel.atlases import Atlases
from vessel.git.faults import AtlasAway, remote_fault


def atlases(folder: Path, url: str) -> Atlases:
    source = AtlasSource(url=url, branch="main", credential="none")
    return Atlases(folder, fixed=source, identity=None, remembered=StateFile(folder / "s", AtlasSource))


async def test_a_commit_that_the_branch_has_left_is_fetched_by_its_id(
    tmp_path: Path, origin: GitRepo, server: GitServer
) -> None:
    first = origin.head()
    origin.commit({"a.yaml": "a: [\n"}, "bad")
    here = atlases(tmp_path / "node", server.url(origin.bare.name))
    assert (await here.commit(first)).revision == first
    assert (await here.checkout(first) / "a.yaml").is_file()
    shutil.rmtree(tmp_path / "node")
    there = atlases(tmp_path / "node", server.url(origin.bare.name))
    assert (await there.checkout(first) / "a.yaml").is_file()


async def test_one_that_cannot_be_had_names_itself_and_the_cause(
    tmp_path: Path, origin: GitRepo, server: GitServer
) -> None:
    here = atlases(tmp_path / "node", server.url(origin.bare.name))
    with pytest.raises(AtlasAway, match=r"e{12} is not in this node's clone and cannot be fetched: .* no longer has"):
        await here.commit("e" * 40)
    await server.cut()
    with pytest.raises(AtlasAway, match=r"cannot be fetched: .* cannot be reached"):
        await here.checkout(origin.head())


def test_a_server_that_hands_out_no_commit_by_its_id_is_named() -> None:
    said = f"error: Server does not allow request for unadvertised object {'e' * 40}"
    assert "hands out no commit by its id" in str(remote_fault(said, "https://git.example/a.git"))


async def test_the_last_good_commit_is_kept_by_a_node_without_a_clone_while_head_is_bad(slate: Any) -> None:
    files = {
        "apps/web/app.yaml": slate.app(),
        "apps/web/all.yaml": slate.namespace() + "---\n" + slate.config_map("m", size="1"),
    }
    first = slate.repo.commit(files, "first")
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy", revision=first)
    bad = slate.repo.commit({"apps/web/bad.yaml": "a: [\n"}, "bad")
    await vessel.wait_report(app="*", phase="refused", revision=bad)
    vessel.stop()
    slate.site.kubectl("delete", "configmap", "m", "-n", slate.ns)
    other = slate.vessel("nuc-b").start()
    await other.wait_report(app="*", phase="refused", revision=bad)
    await other.wait(lambda: slate.get("configmap", "m"), "made again by a node that has never seen the commit")
