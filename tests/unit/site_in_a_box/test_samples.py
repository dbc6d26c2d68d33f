"""Which folders below `SAMPLES=DIR` become apps of the demo's first restaurant, and as what they are laid there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.site_in_a_box import samples
from tests.site_in_a_box.demo.__main__ import taken

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"pod.yaml": POD}, {"my-shop": "."}),
        ({"pod.json": '{\n  "apiVersion": "v1",\n  "kind": "Pod"\n}'}, {"my-shop": "."}),
        ({"kustomization.yaml": "resources: [base]\n", "base/pod.yaml": POD}, {"my-shop": "."}),
        ({"one/pod.yaml": POD, "two/deep/pod.yml": POD, "docs/readme.md": ""}, {"one": "one", "two": "two"}),
        # What lies at the top of many a repository is no manifest.
        ({"package.json": '{"name": "shop"}', ".pre-commit.yaml": "repos: []\n", "one/pod.yaml": POD}, {"one": "one"}),
        ({"podinfo/kustomize/pod.yaml": POD, "pod.yaml": POD}, {"podinfo": "podinfo/kustomize"}),
        ({"readme.md": POD}, {}),
    ],
)
def test_what_is_an_app(tmp_path: Path, files: dict[str, str], found: dict[str, str]) -> None:
    source = lay(tmp_path / "My Shop", files)
    assert {name: str(path.relative_to(source)) for name, path in samples.apps(source).items()} == found
    assert taken(source) == ", ".join(f"{name} ({path})" for name, path in found.items())


def test_a_folder_of_manifests_is_laid_in_whole(tmp_path: Path) -> None:
    source = lay(tmp_path / "shop", {"pod.yaml": POD, "more/pod.yaml": POD, ".git/config": "secret"})
    assert samples.lay_into(tmp_path / "atlas", source) == ["shop"]
    laid = {str(file.relative_to(tmp_path / "atlas")) for file in (tmp_path / "atlas").rglob("*") if file.is_file()}
    assert laid == {
        "apps/shop/app.yaml", "apps/shop/manifests/pod.yaml", "apps/shop/manifests/more/pod.yaml",
        "apps/shop-namespace/app.yaml", "apps/shop-namespace/namespace.yaml",
    }  # fmt: skip


def test_a_folder_without_manifests_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLES", str(lay(tmp_path / "shop", {"docs/readme.md": ""})))
    with pytest.raises(FileNotFoundError, match="no manifests in it, nor in a folder of it"):
        samples.folder()
