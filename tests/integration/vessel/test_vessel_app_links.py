"""An app that is a symbolic link is not left out without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from vessel.model import AtlasRefused, Commit
from vessel.reading.atlas import read_atlas
from vessel.reading.kustomize import KubectlKustomizer


@pytest.mark.parametrize("link", ["apps", "apps/two"])
async def test_an_app_that_is_a_link_is_told(tmp_path: Path, link: str) -> None:
    real = tmp_path / "real"
    (real / "one").mkdir(parents=True)
    (real / "one" / "app.yaml").write_text("v: 1\nowner: kitchen\n")
    if link != "apps":
        (tmp_path / "apps").mkdir()
    (tmp_path / link).symlink_to(real if link == "apps" else real / "one")
    with pytest.raises(AtlasRefused) as caught:
        await read_atlas(tmp_path, Commit("f" * 40), KubectlKustomizer())
    [problem] = caught.value.problems
    assert problem.file == link and "symbolic link" in problem.cause
