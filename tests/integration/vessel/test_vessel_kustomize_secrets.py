"""What kustomize says of a Secret that it cannot make, without the Secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from vessel.model import AtlasRefused, Commit, describe
from vessel.reading.atlas import read_atlas
from vessel.reading.kustomize import KubectlKustomizer
from vessel.reading.render import explain

MARK = "hunter2SuperSecret"
GENERATORS = [
    f"literals: [{MARK}]",
    f"literals: ['={MARK}']",
    f"literals: [{MARK}=a, {MARK}=b]",
    f"literals: {MARK}",
    f"literals: [{{{MARK}: 5}}]",
    f"literal: {MARK}",
    "envs: [odd.env]",
    "files: ['a=b=odd.env']",
    "files: [../outside.txt]",
]


@pytest.mark.parametrize("generator", GENERATORS)
async def test_a_generator_that_fails(tmp_path: Path, kube_binaries: Path, generator: str) -> None:
    (tmp_path / "outside.txt").write_text(MARK)
    app = tmp_path / "app"
    app.mkdir()
    (app / "odd.env").write_bytes(f"{MARK}=a\n\xff{MARK}\n".encode("latin-1"))
    (app / "kustomization.yaml").write_text(f"secretGenerator:\n- name: s\n  {generator}\n")
    with pytest.raises(AtlasRefused) as caught:
        await read_atlas(tmp_path, Commit("f" * 40), KubectlKustomizer(str(kube_binaries / "kubectl")), path="app")
    said = " ".join(describe(problem) for problem in caught.value.problems)
    assert said.startswith("app/kustomization.yaml") and MARK not in said


@pytest.mark.parametrize("said", [
    "error: wrong node kind: expected MappingNode but got ScalarNode: node contents:\n%s\n",
    'E1 x.go:1] "failed" err="wrong node kind: node contents:\\n%s\\n"',
    'E1 x.go:1] "failed" err="trouble configuring builtin PatchTransformer with config: `\\npatch: %s\\n`: bad"',
])  # fmt: skip
def test_what_it_prints_of_an_object_is_left_out(said: str) -> None:
    cause, _ = explain(said % MARK, Path("/scratch"), Path("/tree"))
    assert MARK not in cause and cause.startswith("kustomize: ") and len(cause) > 20
