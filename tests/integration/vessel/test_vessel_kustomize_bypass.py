"""Spellings that kustomize takes for a reference and a look at the text might not: all refused before it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from vessel.model import AtlasRefused, Commit, describe
from vessel.reading.atlas import read_atlas
from vessel.reading.kustomize import KubectlKustomizer

PLUGIN = "apiVersion: builtin\nkind: {kind}\nmetadata: {{name: x}}\n"
ADDRESS = "http://127.0.0.1:9/x"
GENERATOR = PLUGIN.format(kind="ConfigMapGenerator") + f"files: ['{ADDRESS}']\n"
TRANSFORMER = PLUGIN.format(kind="PatchTransformer") + f"path: '{ADDRESS}'\n"


class NeverRun(KubectlKustomizer):
    """The real one, which must not be reached."""

    async def build(self, directory: Path, home: Path) -> bytes:
        raise AssertionError(f"kustomize was run: {(directory / 'kustomization.yaml').read_text()}")


@pytest.mark.parametrize(
    ("text", "path", "cause"),
    [
        ("Resources: [../../outside]\n", "Resources", "must be spelt 'resources'"),
        ("RESOURCES: ['http://127.0.0.1:9/x.yaml']\n", "RESOURCES", "must be spelt 'resources'"),
        ("Bases: [../../outside]\n", "Bases", "must be spelt 'bases'"),
        ("re\u017fources: [../../outside]\n", "re\u017fources", "must be spelt 'resources'"),
        ("HelmCharts: []\n", "HelmCharts", "must be spelt 'helmCharts'"),
        ("bogus: 1\n", "bogus", "is no field of a kustomization"),
        ("patches: [{Path: ../../outside/cm.yaml}]\n", "patches[0].Path", "must be spelt 'path'"),
        (
            "configMapGenerator: [{name: x, FILES: ['http://127.0.0.1:9/x']}]\n",
            "configMapGenerator[0].FILES",
            "'files'",
        ),
        ("secretGenerator: [{name: x, Envs: ['http://127.0.0.1:9/x']}]\n", "secretGenerator[0].Envs", "'envs'"),
        ("openapi: {PATH: 'http://127.0.0.1:9/x'}\n", "openapi.PATH", "must be spelt 'path'"),
        ('resources: ["x\\n/../../../outside"]\n', "resources[0]", "on one line"),
        ('components: ["x\\n/../../../outside"]\n', "components[0]", "on one line"),
        ('generators: ["x\\n/../../../outside"]\n', "generators[0]", "on one line"),
        (f"resources: [{'a' * 300}.yaml]\n", "resources[0]", "no such file"),
        (f"generators:\n- |\n{GENERATOR.replace('apiV', '  apiV').replace(chr(10), chr(10) + '  ')}\n", "", "address"),
        ("generators: [generator.yaml]\n", "", "address"),
        ("transformers: [transformer.yaml]\n", "", "address"),
    ],
)
async def test_refused_before_kustomize_runs(tmp_path: Path, text: str, path: str, cause: str) -> None:
    atlas = tmp_path / "atlas"
    (atlas / "a").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "cm.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: outside}\n")
    (tmp_path / "outside" / "kustomization.yaml").write_text("resources: [cm.yaml]\n")
    (atlas / "a" / "kustomization.yaml").write_text(text)
    (atlas / "a" / "generator.yaml").write_text(GENERATOR)
    (atlas / "a" / "transformer.yaml").write_text(TRANSFORMER)
    with pytest.raises(AtlasRefused) as caught:
        await read_atlas(atlas, Commit("f" * 40), NeverRun(), path="a")
    [problem] = caught.value.problems
    assert problem.path == path and cause in problem.cause, describe(problem)
    assert problem.file.startswith("a/")


async def test_inline_objects_and_every_known_field_are_taken(tmp_path: Path, kube_binaries: Path) -> None:
    inline = PLUGIN.format(kind="ConfigMapGenerator") + "literals: [a=b]\n"
    (tmp_path / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nmetadata: {name: k}\n"
        "namePrefix: p-\nnameSuffix: -s\nnamespace: shop\ncommonLabels: {a: b}\nlabels: [{pairs: {c: d}}]\n"
        "commonAnnotations: {e: f}\nimages: []\nreplicas: []\nvars: []\nreplacements: []\nresources: [cm.yaml]\n"
        "components: []\nbases: []\ncrds: []\nconfigurations: []\npatchesJson6902: []\ntransformers: []\n"
        "validators: []\nbuildMetadata: []\nsortOptions: {order: fifo}\n"
        "generatorOptions: {disableNameSuffixHash: true}\n"
        "configMapGenerator: [{name: g, literals: [a=b]}]\nsecretGenerator: [{name: t, literals: [a=b]}]\n"
        "patchesStrategicMerge:\n- |\n  apiVersion: v1\n  kind: ConfigMap\n"
        "  metadata: {name: cm}\n  data: {patched: y}\n"
        "generators:\n- |\n  " + inline.replace("\n", "\n  ") + "\n"
    )
    (tmp_path / "cm.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\n")
    atlas = await read_atlas(tmp_path, Commit("f" * 40), KubectlKustomizer(str(kube_binaries / "kubectl")))
    manifests = atlas.apps[0].manifests
    assert len(manifests) == 4
    assert any((m.body.get("data") or {}).get("patched") for m in manifests)
