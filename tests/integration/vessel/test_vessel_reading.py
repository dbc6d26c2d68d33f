# ruff: noqa: E501 - tables read best as they are
"""Whole Atlases with the real kustomize: what is read, from where, and what is refused with which words."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from agents.core.errors import Rejected, Retryable
from vessel.model import Atlas, AtlasRefused, Commit, describe
from vessel.reading.atlas import read_atlas
from vessel.reading.kustomize import KubectlKustomizer

EXAMPLE = Path(__file__).parents[3] / "examples" / "atlas"
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n"


@pytest.fixture
def kustomizer(kube_binaries: Path) -> KubectlKustomizer:
    return KubectlKustomizer(str(kube_binaries / "kubectl"))


async def read(root: Path, kustomizer: KubectlKustomizer, path: str = ".") -> Atlas:
    return await read_atlas(root, Commit("f" * 40), kustomizer, path=path)


async def refused(root: Path, kustomizer: KubectlKustomizer) -> list[str]:
    with pytest.raises(AtlasRefused) as caught:
        await read(root, kustomizer)
    return [describe(problem) for problem in caught.value.problems]


def make(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def places(atlas: Atlas) -> dict[str, str]:
    return {str(m.ref): f"{m.file}:{m.line}" for app in atlas.apps for m in app.manifests}


async def test_the_projects_own_atlas(kustomizer: KubectlKustomizer) -> None:
    atlas = await read(EXAMPLE, kustomizer)
    assert len(atlas.apps) == 8 and sum(len(app.manifests) for app in atlas.apps) == 35
    assert all(app.spec.owner for app in atlas.apps)
    assert all(m.line > 0 and (EXAMPLE / m.file).is_file() for app in atlas.apps for m in app.manifests)


@pytest.mark.parametrize(
    ("sample", "objects"),
    [("podinfo/kustomize", 3), ("podinfo/deploy/webapp", 11), ("podinfo/deploy/secure", 13),
     ("online-boutique/kustomize", 35), ("online-boutique/release", 40)],
)  # fmt: skip
async def test_the_samples(kustomizer: KubectlKustomizer, samples: Path, sample: str, objects: int) -> None:
    root = samples / sample
    begun = time.monotonic()
    atlas = await read(root, kustomizer)
    assert time.monotonic() - begun < 10
    [app] = atlas.apps
    assert len(app.manifests) == objects
    for manifest in app.manifests:
        line = (root / manifest.file).read_text().splitlines()[manifest.line - 1]
        assert line.startswith(("apiVersion:", "kind:")), (manifest.file, manifest.line, line)


KUSTOMIZED = {
    "app/kustomization.yaml": "namePrefix: p-\nnamespace: shop\nresources:\n- ../base\nconfigMapGenerator:\n- name: other\n  literals: [a=b]\n"
    "- name: gen\n  literals: [a=b]\nsortOptions: {order: fifo}\n",
    "base/kustomization.yaml": "resources: [two.yaml]\n",
    "base/two.yaml": "# first\n" + CONFIG_MAP.format(name="one") + "---\n" + CONFIG_MAP.format(name="one-more") + "data: {on: on}\n",
}  # fmt: skip


async def test_rendered_objects_have_their_places(tmp_path: Path, kustomizer: KubectlKustomizer) -> None:
    atlas = await read(make(tmp_path, KUSTOMIZED), kustomizer, "app")
    found = {
        name.rsplit("-", 1)[0] if "gen" in name or "other" in name else name: place
        for name, place in places(atlas).items()
    }
    assert found == {
        "ConfigMap shop/p-one": "base/two.yaml:2",
        "ConfigMap shop/p-one-more": "base/two.yaml:7",
        "ConfigMap shop/p-other": "app/kustomization.yaml:6",
        "ConfigMap shop/p-gen": "app/kustomization.yaml:8",
    }


async def test_rendered_as_kubectl_renders(tmp_path: Path, kustomizer: KubectlKustomizer) -> None:
    """The way to the places changes nothing: names with hashes, order, annotations."""
    root = make(
        tmp_path,
        KUSTOMIZED
        | {"app/kustomization.yaml": KUSTOMIZED["app/kustomization.yaml"] + "buildMetadata: [managedByLabel]\n"},
    )
    atlas = await read(root, kustomizer, "app")
    plain = await kustomizer.build(root / "app", Path(tempfile.mkdtemp(dir=tmp_path)))
    (tmp_path / "plain.yaml").write_bytes(plain)
    direct = await read(make(tmp_path / "direct", {"all.yaml": plain.decode()}), kustomizer)
    assert [m.body for m in atlas.apps[0].manifests] == [m.body for m in direct.apps[0].manifests]


async def test_units_in_a_plain_app(tmp_path: Path, kustomizer: KubectlKustomizer) -> None:
    files = {
        "a.yaml": CONFIG_MAP.format(name="a"),
        "unit/kustomization.yaml": "resources: [b.yaml]\n",
        "unit/b.yaml": CONFIG_MAP.format(name="b"),
        "unit/not-mentioned.yaml": CONFIG_MAP.format(name="c"),
        "part/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n",
        ".github/x.yaml": "not: one",
        "notes.txt": "{{",
    }
    assert places(await read(make(tmp_path, files), kustomizer)) == {
        "ConfigMap a": "a.yaml:1",
        "ConfigMap b": "unit/b.yaml:1",
    }


async def test_apps(tmp_path: Path, kustomizer: KubectlKustomizer) -> None:
    files = {
        "apps/web/app.yaml": "v: 1\nowner: web\nnamespace: shop\n",
        "apps/web/a.yaml": CONFIG_MAP.format(name="a"),
        "apps/tills/app.yaml": "v: 1\nowner: tills\npath: ../../bases/tills\n",
        "apps/README.md": "",
        "bases/tills/b.json": json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}),
        "ignored.yaml": "not: one",
    }
    atlas = await read(make(tmp_path, files), kustomizer)
    assert [(app.spec.name, app.spec.owner, app.spec.namespace, len(app.manifests)) for app in atlas.apps] == [
        ("tills", "tills", "default", 1), ("web", "web", "shop", 1)
    ]  # fmt: skip
    assert places(atlas) == {"ConfigMap b": "bases/tills/b.json:1", "ConfigMap a": "apps/web/a.yaml:1"}


async def test_all_problems_at_once(tmp_path: Path, kustomizer: KubectlKustomizer) -> None:
    files = {
        "apps/web/app.yaml": "v: 1\ncolour: red\n",
        "apps/Bad_Name/app.yaml": "v: 1\n",
        "apps/nameless/a.yaml": "",
        "apps/lost/app.yaml": "v: 1\npath: nowhere\n",
        "apps/stray.yaml": "",
        "apps/ok/app.yaml": "v: 1\n",
        "apps/ok/a.yaml": "a: [\n",
        "apps/ok/b.yaml": CONFIG_MAP.format(name="x") + "---\nkind: A\n---\n" + CONFIG_MAP.format(name="x"),
        "apps/ok/k/kustomization.yaml": "resources: ['https://example.org/x']\n",
    }
    found = await refused(make(tmp_path, files), kustomizer)
    for expected in (
        "apps/Bad_Name: an app's directory is named by",
        "apps/lost/app.yaml: path: 'apps/lost/nowhere' is no directory",
        "apps/nameless/app.yaml: is missing",
        "apps/stray.yaml: belongs to no app",
        "apps/web/app.yaml:2: colour: unknown key",
        "apps/ok/a.yaml:2: is not valid YAML",
        "apps/ok/b.yaml:6: A: apiVersion: is required",
        "apps/ok/b.yaml:8: ConfigMap x: stands twice in the Atlas: first in apps/ok/b.yaml:1",
        "apps/ok/k/kustomization.yaml:1: resources[0]: 'https://example.org/x' is remote",
    ):
        assert any(text.startswith(expected) for text in found), (expected, found)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"kustomization.yaml": "resources: [a.yaml]\npatches:\n- target: {kind: ConfigMap, name: a}\n  patch: |\n    - op: remove\n      path: /data/none\n"},
         "kustomization.yaml: kustomize: remove operation does not apply"),
        ({"kustomization.yaml": "resourcez: [a.yaml]\n"}, "kustomization.yaml:1: resourcez: is no field of a kustomization"),
        ({"kustomization.yaml": "resources: [a.yaml, a.yaml]\n"}, "kustomization.yaml: kustomize: "),
        ({"kustomization.yaml": "resources: [sub]\n", "sub/kustomization.yaml": "resources: [..]\n"}, "kustomization.yaml: kustomize: "),
        ({"app/kustomization.yaml": "resources: [../outside.yaml]\n", "outside.yaml": CONFIG_MAP.format(name="o")},
         "app/kustomization.yaml: kustomize: "),
        ({"kustomization.yaml": "resources: [s.yaml]\npatches:\n- patch: |\n    apiVersion: v1\n    kind: Secret\n    metadata: {name: s}\n    stringData: {x: hunter2}\n    bad\n",
          "s.yaml": CONFIG_MAP.format(name="s").replace("ConfigMap", "Secret") + "stringData: {p: hunter2}\n"}, "kustomization.yaml: kustomize: "),
        ({"kustomization.yaml": "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\n"}, "kustomization.yaml: kustomize: "),
        ({"kustomization.yaml": "generators: [g.yaml]\n", "g.yaml": "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: x}\nname: x\nrepo: https://example.org\n"},
         "g.yaml:1: a plugin of kustomize may not name an address"),
        ({"kustomization.yaml": "transformers: [g.yaml]\n", "g.yaml": "apiVersion: x/v1\nkind: X\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      exec: {path: /bin/true}\n"},
         "kustomization.yaml: kustomize: "),
    ],
)  # fmt: skip
async def test_what_kustomize_refuses(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    kustomizer: KubectlKustomizer,
    files: dict[str, str],
    expected: str,
) -> None:
    own = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    root = make(tmp_path, {"a.yaml": CONFIG_MAP.format(name="a")} | files)
    found = await refused(root, kustomizer)
    assert any(text.startswith(expected) for text in found), found
    said = "".join(found)
    assert str(tmp_path) not in said and "vessel-kustomize" not in said and "hunter2" not in said
    assert "command failed" not in said and len(said) < 3000
    assert list(own.iterdir()) == []


async def test_a_bomb_in_a_resource(tmp_path: Path, kustomizer: KubectlKustomizer) -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))
    root = make(tmp_path, {"kustomization.yaml": "resources: [b.yaml]\n", "b.yaml": bomb, "x/plain.yaml": bomb})
    begun = time.monotonic()
    [found] = await refused(root, kustomizer)
    assert found.startswith("b.yaml:") and "aliases expand" in found
    assert time.monotonic() - begun < 5


async def test_a_huge_file(tmp_path: Path, kustomizer: KubectlKustomizer) -> None:
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    before = psutil.Process().memory_info().rss
    assert await refused(tmp_path, kustomizer) == ["huge.yaml: has 104857600 bytes, more than the limit of 8388608"]
    assert psutil.Process().memory_info().rss - before < 10 * 1024 * 1024


async def test_a_symlink_out_of_the_tree(tmp_path: Path, kustomizer: KubectlKustomizer) -> None:
    root = make(tmp_path / "atlas", {"kustomization.yaml": "configMapGenerator: [{name: a, files: [link]}]\n"})
    (root / "link").symlink_to("/etc/passwd")
    assert await refused(root, kustomizer) == ["link: is a symbolic link out of the repository"]


def program(folder: Path, text: str) -> KubectlKustomizer:
    path = folder / "kubectl"
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return KubectlKustomizer(str(path), seconds=2.0, output_bytes=1024 * 1024)


def children() -> set[psutil.Process]:
    """What this process has started; servers that other tests share are among it."""
    return set(psutil.Process().children(recursive=True))


async def test_a_kubectl_that_hangs_fills_or_is_missing(tmp_path: Path) -> None:
    before = children()
    home = tmp_path / "home"
    home.mkdir()
    hang = program(tmp_path, "import subprocess,time; subprocess.Popen(['/bin/sleep', '60']); time.sleep(60)")
    with pytest.raises(Retryable, match="did not end within 2 s"):
        await hang.build(tmp_path, home)
    with pytest.raises(Rejected, match="more than 1048576 bytes"):
        await program(tmp_path, "while True: print('x' * 10000)").build(tmp_path, home)
    with pytest.raises((Rejected, Retryable), match=r"memory or time|did not end"):
        await program(tmp_path, "while True: pass").build(tmp_path, home)
    with pytest.raises(Retryable, match="kubectl was not found"):
        await KubectlKustomizer(str(tmp_path / "none")).build(tmp_path, home)
    secret = program(tmp_path, "import os,json; print(json.dumps(dict(os.environ)))")
    os.environ["GALLEY_TEST_SECRET"] = "hunter2"
    try:
        assert b"hunter2" not in await secret.build(tmp_path, home)
    finally:
        del os.environ["GALLEY_TEST_SECRET"]
    await asyncio.sleep(0.1)
    assert children() <= before


async def test_a_cancelled_build_leaves_nothing(tmp_path: Path) -> None:
    before = children()
    task = asyncio.create_task(program(tmp_path, "import time; time.sleep(60)").build(tmp_path, tmp_path))
    await asyncio.sleep(0.5)
    assert children() - before, "it never ran"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() <= before


def vessel(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "vessel", *arguments], capture_output=True, text=True, timeout=60)


def test_lint_and_render(tmp_path: Path, kube_binaries: Path) -> None:
    kubectl = f"--kubectl={kube_binaries / 'kubectl'}"
    done = vessel("lint", str(EXAMPLE), kubectl)
    assert (done.returncode, done.stdout) == (0, "ok: 35 objects in 8 apps\n"), done.stderr
    done = vessel("render", str(EXAMPLE), "--output", "json", kubectl)
    items = json.loads(done.stdout)["items"]
    assert done.returncode == 0 and len(items) == 35
    text = vessel("render", str(EXAMPLE), "--output", "yaml", kubectl).stdout
    make(tmp_path / "rendered", {"all.yaml": text})
    done = vessel("render", str(tmp_path / "rendered"), "-o", "json", kubectl)
    assert json.loads(done.stdout)["items"] == items
    make(tmp_path / "bad", {"a.yaml": "a: [\x1b]"})
    done = vessel("lint", str(tmp_path / "bad"), kubectl)
    assert done.returncode == 1 and "a.yaml:1: is not valid YAML" in done.stderr and "1 problem" in done.stderr
    (tmp_path / "empty").mkdir()
    done = vessel("lint", str(tmp_path / "empty"), kubectl)
    assert done.returncode == 1 and "holds no object" in done.stderr
    assert vessel("lint", str(tmp_path / "no"), kubectl).returncode == 2
    assert vessel("render", str(EXAMPLE), "--app", "none", kubectl).returncode == 1
