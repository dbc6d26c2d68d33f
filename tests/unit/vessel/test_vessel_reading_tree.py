# ruff: noqa: E501 - tables read best as they are
"""The tree and what a kustomization may reach, on real folders."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from vessel.model import describe
from vessel.reading.kustomization import is_component, scan
from vessel.reading.tree import FileRefused, Tree, TreeBounds

MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def make(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_yaml", ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def problems(tree: Tree) -> list[str]:
    return [describe(problem) for problem in tree.problems]


@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "a/../../x", ".git/config"])
def test_links_out_of_the_tree(tmp_path: Path, target: str) -> None:
    root = make(tmp_path / "t", a__b_yaml=MANIFEST)
    make(tmp_path, x="")
    make(root, **{".git__config": ""})
    (root / "a" / "link.yaml").symlink_to(target if target.startswith("/") else f"../{target}")
    assert problems(Tree.open(root)) == ["a/link.yaml: is a symbolic link out of the repository"]


def test_links_to_nothing_and_in_circles(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("nothing")
    (tmp_path / "b").symlink_to("b")
    assert problems(Tree.open(tmp_path)) == ["a: is a symbolic link to nothing", "b: is a symbolic link to nothing"]


def test_links_inside_are_followed_to_files_alone(tmp_path: Path) -> None:
    root = make(tmp_path, real__b_yaml=MANIFEST)
    (root / "c.yaml").symlink_to("real/b.yaml")
    (root / "again").symlink_to("real")
    (root / "dir.yaml").symlink_to("real")
    tree = Tree.open(root)
    assert tree.problems == []
    assert list(tree.manifest_files(".")) == [("c.yaml", False), ("real/b.yaml", False)]


def test_special_files_and_names(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "a\x1b[2J.yaml").write_text("")
    (tmp_path / os.fsdecode(b"b\xff.yaml")).write_text("")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.yaml"))
    assert problems(Tree.open(tmp_path)) == [
        "a\\x1b[2J.yaml: the name has control characters or is not UTF-8",
        "b\\udcff.yaml: the name has control characters or is not UTF-8",
        "pipe.yaml: is neither file nor directory",
        "s.yaml: is neither file nor directory",
    ]


def test_bounds(tmp_path: Path) -> None:
    root = make(tmp_path, a_yaml="x" * 100, b_yaml="y" * 60, c__d__e_yaml="z")
    tree = Tree.open(root, TreeBounds(file_bytes=80, total_bytes=70))
    with pytest.raises(FileRefused, match="has 100 bytes, more than the limit of 80"):
        tree.read("a.yaml")
    assert tree.read("b.yaml")
    with pytest.raises(FileRefused, match="more than 70 bytes in all"):
        tree.read("b.yaml")
    assert problems(Tree.open(root, TreeBounds(entries=3))) == ["the tree has more than 3 files and directories"]
    assert problems(Tree.open(root, TreeBounds(levels=1))) == ["c/d: lies deeper than 1 directories"]


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    with pytest.raises(FileRefused, match="has 104857600 bytes"):
        Tree.open(tmp_path).read("huge.yaml")


def test_which_files_are_manifests(tmp_path: Path) -> None:
    root = make(
        tmp_path, a_yaml="", README="", **{".hidden__x_yaml": "", "b.yml": "", "c.json": "", "d.yaml.bak": ""},
        sub__e_yaml="", kust__kustomization_yaml="", kust__f_yaml="", sub__deep__g_yaml="", sub__deep__Kustomization="",
    )  # fmt: skip
    assert list(Tree.open(root).manifest_files(".")) == [
        ("a.yaml", False), ("b.yml", False), ("c.json", False), ("kust", True), ("sub/deep", True), ("sub/e.yaml", False)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kustomization", "problem"),
    [
        ("resources:\n- https://example.org/x.yaml\n", ":2: resources[0]: 'https://example.org/x.yaml' is remote"),
        ("resources:\n- https://user:pw@example.org/x\n", "'https://example.org/x' is remote"),
        ("bases: ['github.com/a/b?ref=v1']\n", ":1: bases[0]: 'github.com/a/b?ref=v1' is remote"),
        ("components: ['git@example.org:a/b']\n", "is remote"),
        ("resources: ['git::https://example.org/a']\n", "is remote"),
        ("resources: ['org-1@github.com:a/b.git']\n", "is remote"),
        ("resources: ['file:///etc']\n", "is remote"),
        ("resources: ['SSH://host/a']\n", "is remote"),
        (
            "configMapGenerator:\n- name: a\n  files:\n  - k=https://example.org/x\n",
            ":4: configMapGenerator[0].files[0]",
        ),
        ("secretGenerator: [{name: a, envs: ['http://127.0.0.1/x']}]\n", "secretGenerator[0].envs[0]"),
        ("patches: [{path: 'https://example.org/p'}]\n", "patches[0].path"),
        ("openapi: {path: 'https://example.org/p'}\n", "openapi.path"),
        ("crds: ['https://example.org/p']\n", "crds[0]"),
        ("transformers: ['https://example.org/p']\n", "transformers[0]"),
        ("resources: [/etc]\n", "'/etc' must be relative"),
        ("resources: [../../..]\n", "'../../..' leads out of the repository"),
        ("resources: [../.git/x]\n", "'../.git/x' is no part of the commit"),
        ("resources: [nothing.yaml]\n", "'nothing.yaml': no such file or directory"),
        ("helmCharts: [{name: a}]\n", ":1: helmCharts: Helm charts are not inflated"),
        ("resources: [bad.yaml]\n", "app/bad.yaml:2: is not valid YAML"),
        ("resources: [twice.yaml]\n", "app/twice.yaml:2: key 'a' stands twice"),
        ("resources: [base]\n", "app/base/kustomization.yaml:1: resources[0]: 'https://x/y' is remote"),
        ("resources: [empty]\n", "app/empty: has no kustomization.yaml"),
        ("resources: a\n---\nb: c\n", "app/kustomization.yaml: must hold one mapping"),
        ("- a\n", "app/kustomization.yaml: must hold one mapping"),
        ("a: 1\na: 2\n", "app/kustomization.yaml:2: key 'a' stands twice"),
    ],
)
def test_kustomizations_that_are_refused(tmp_path: Path, kustomization: str, problem: str) -> None:
    root = make(
        tmp_path, app__kustomization_yaml=kustomization, app__bad_yaml="a: [", app__twice_yaml="a: 1\na: 2\n",
        app__base__kustomization_yaml="resources: ['https://x/y']\n", app__empty__x_yaml=MANIFEST,
    )  # fmt: skip
    found = [describe(p) for p in scan(Tree.open(root), "app").problems]
    assert any(problem in text for text in found), found
    assert "pw" not in "".join(found)


def test_a_kustomization_that_is_fine(tmp_path: Path) -> None:
    root = make(
        tmp_path,
        app__kustomization_yaml="resources: [../base, x.yaml]\npatches:\n- patch: |\n    - op: test\n- path: p.yaml\n"
        "configMapGenerator: [{name: a, literals: ['url=https://example.org'], files: [k=f.txt]}]\n"
        "patchesStrategicMerge:\n- |\n  kind: A\n  # https://example.org\n",
        app__x_yaml=MANIFEST, app__p_yaml="- op: remove\n", base__kustomization_yaml="resources: [y.yaml]\n", base__y_yaml=MANIFEST,
        **{"app__f.txt": "{"}, part__kustomization_yaml="kind: Component\n",
    )  # fmt: skip
    tree = Tree.open(root)
    found = scan(tree, "app")
    assert found.problems == []
    assert set(found.documents) == {
        "app/kustomization.yaml",
        "base/kustomization.yaml",
        "app/x.yaml",
        "app/p.yaml",
        "base/y.yaml",
    }
    assert is_component(tree, "part") and not is_component(tree, "app")


def test_a_circle_ends(tmp_path: Path) -> None:
    root = make(tmp_path, a__kustomization_yaml="resources: [../b]\n", b__kustomization_yaml="resources: [../a]\n")
    assert scan(Tree.open(root), "a").problems == []
