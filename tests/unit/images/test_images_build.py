"""What `make images` tells of what it made."""

import tomllib
from pathlib import Path

from images.containers import build

ROOT = Path(__file__).parents[3]


def test_it_says_what_the_file_is_and_how_to_import_it_and_ends_with_the_path():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    what, how, path = build.told(Path("/cache/images/agents-0.tar")).splitlines()
    assert "OCI image layout" in what
    assert f"docker.io/galley/agents:{version}" in what
    assert how.endswith("ctr -n k8s.io images import /cache/images/agents-0.tar")
    assert path == "/cache/images/agents-0.tar"
